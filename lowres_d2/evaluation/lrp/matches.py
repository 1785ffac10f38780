"""Detections of each class with the IoU of the object that they are matched to.

Matched by faster-coco-eval as for AP: highest score first, one to one within an image and class.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from lowres_d2.evaluation.coco_engine import open_engine

import numpy as np


@dataclass(frozen=True)
class ClassMatches:
    """The detections of a class, of all images together, highest score first.

    Attributes:
        scores: (D,).
        overlap: (D,) IoU with the matched object; 0 for a false positive.
        objects: number of objects of the class.
    """

    scores: np.ndarray
    overlap: np.ndarray
    objects: int


def match_classes(
    ground_truth: dict, detections: Sequence[dict], max_dets: int, iou: float
) -> dict[int, ClassMatches]:
    """Match objects and detections, by the ids of their classes.

    Args:
        ground_truth: as :func:`lowres_d2.evaluation.coco_engine.score_boxes` takes it.
        detections: COCO results. What is matched to a crowd is left out.
        max_dets: cap on detections per image and class.
        iou: lowest IoU of a match.
    """
    run = open_engine(
        ground_truth, detections, [(0.0, math.inf)], [max_dets], [iou], extra_calc=True
    )
    run.evaluate()
    run.accumulate()
    objects = ground_truth["annotations"]
    overlap = np.zeros(len(detections))
    kept = _under_the_cap(detections, max_dets)
    # Keys are "detection_object", both numbered from 1 in the order given.
    for key, value in run.eval["matched"].items():
        detection, target = map(int, key.split("_"))
        if objects[target - 1]["iscrowd"]:
            kept[detection - 1] = False
        else:
            overlap[detection - 1] = value
    scores = np.array([row["score"] for row in detections], dtype=float)
    category = np.array([row["category_id"] for row in detections])
    found = {}
    for class_id in (entry["id"] for entry in ground_truth["categories"]):
        rows = np.flatnonzero(kept & (category == class_id))
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        number = sum(o["category_id"] == class_id and not o["iscrowd"] for o in objects)
        found[class_id] = ClassMatches(scores[rows], overlap[rows], number)
    return found


def _under_the_cap(detections: Sequence[dict], max_dets: int) -> np.ndarray:
    """Whether a detection is among the highest-scoring ones of its image and class."""
    groups = defaultdict(list)
    for k, row in enumerate(detections):
        groups[row["image_id"], row["category_id"]].append(k)
    kept = np.zeros(len(detections), dtype=bool)
    for group in groups.values():
        kept[sorted(group, key=lambda k: -detections[k]["score"])[:max_dets]] = True
    return kept
