"""Which classes a detector takes for which: matches regardless of the class."""

from __future__ import annotations

import math

from lowres_d2.evaluation.coco_engine import open_engine
from lowres_d2.evaluation.evaluated import Evaluated

import numpy as np


def confusion_matrix(evaluated: Evaluated, threshold: float, iou: float = 0.5) -> np.ndarray:
    """Numbers of objects by their class and by the class of the detection matched to them.

    Detections are matched by faster-coco-eval as for AP, highest score first, but with objects of
    any class. What is matched to a crowd is left out.

    Args:
        evaluated: detections and ground truth, of K classes.
        threshold: detections with a lower score are left out.
        iou: lowest IoU of a match.

    Returns:
        (K + 1, K + 1), rows by ground truth and columns by detection: the last row has detections
        where no object is, the last column has objects that were missed.
    """
    found = [row for row in evaluated.detections if row["score"] >= threshold]
    label = {category: k for k, category in enumerate(evaluated.category_ids)}
    none = len(label)
    run = open_engine(
        evaluated.truth,
        found,
        [(0.0, math.inf)],
        [max(len(found), 1)],  # no cap: what is drawn is counted
        [iou],
        extra_calc=True,
    )
    run.params.useCats = 0
    run.evaluate()
    run.accumulate()
    # Keys are "detection_object", both numbered from 1 in the order given.
    pairs = [tuple(map(int, key.split("_"))) for key in run.eval["matched"]]
    objects = evaluated.truth["annotations"]
    counts = np.zeros((none + 1, none + 1), np.int64)
    for detection, target in pairs:
        truth = objects[target - 1]
        if not truth["iscrowd"]:
            counts[label[truth["category_id"]], label[found[detection - 1]["category_id"]]] += 1
    matched, hit = {detection for detection, _ in pairs}, {target for _, target in pairs}
    for k, row in enumerate(found, start=1):
        if k not in matched:
            counts[none, label[row["category_id"]]] += 1
    for k, row in enumerate(objects, start=1):
        if k not in hit and not row["iscrowd"]:
            counts[label[row["category_id"]], none] += 1
    return counts
