"""Detections of each class with the IoU of the object that they are matched to.

Matched as for AP: highest score first, one to one within an image and class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lowres_d2.evaluation.coco_engine import match_boxes

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
    matches = match_boxes(ground_truth, detections, max_dets, [iou])
    kept, matched = ~matches.ignored[0], matches.objects[0]
    objects = ground_truth["annotations"]
    given = [detections[k] for k in matches.detections]
    overlap = np.zeros(len(given))
    rows = np.flatnonzero(kept & (matched >= 0))
    overlap[rows] = _iou(
        np.array([given[k]["bbox"] for k in rows], dtype=np.float64).reshape(-1, 4),
        np.array([objects[matched[k]]["bbox"] for k in rows], dtype=np.float64).reshape(-1, 4),
    )
    scores = np.array([row["score"] for row in given], dtype=float)
    category = np.array([row["category_id"] for row in given])
    found = {}
    for class_id in (entry["id"] for entry in ground_truth["categories"]):
        rows = np.flatnonzero(kept & (category == class_id))
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        number = sum(o["category_id"] == class_id and not o["iscrowd"] for o in objects)
        found[class_id] = ClassMatches(scores[rows], overlap[rows], number)
    return found


def _iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n,) IoU of boxes XYWH, pair by pair."""
    low = np.maximum(boxes[:, :2], others[:, :2])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], others[:, :2] + others[:, 2:])
    shared = (high - low).clip(0).prod(axis=1)
    return shared / (boxes[:, 2:].prod(axis=1) + others[:, 2:].prod(axis=1) - shared)
