"""Which classes a detector takes for which: matches regardless of the class."""

from __future__ import annotations

from lowres_d2.evaluation.coco_engine import match_boxes
from lowres_d2.evaluation.evaluated import Evaluated

import numpy as np


def confusion_matrix(evaluated: Evaluated, threshold: float, iou: float = 0.5) -> np.ndarray:
    """Numbers of objects by their class and by the class of the detection matched to them.

    Detections are matched as for AP, highest score first, but with objects of
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
    matches = match_boxes(
        evaluated.truth,
        found,
        max(len(found), 1),  # no cap: what is drawn is counted
        [iou],
        use_classes=False,
    )
    objects, counts = evaluated.truth["annotations"], np.zeros((none + 1, none + 1), np.int64)
    hit = set()
    for detection, target in zip(matches.detections, matches.objects[0], strict=True):
        column = label[found[detection]["category_id"]]
        if target < 0:
            counts[none, column] += 1
        elif not objects[target]["iscrowd"]:
            counts[label[objects[target]["category_id"]], column] += 1
            hit.add(int(target))
    for k, row in enumerate(objects):
        if k not in hit and not row["iscrowd"]:
            counts[label[row["category_id"]], none] += 1
    return counts
