"""Precision over recall, as COCO computes it: the area under the curve is AP."""

from __future__ import annotations

import math

from lowres_d2.evaluation.coco_engine import score_boxes
from lowres_d2.evaluation.evaluated import Evaluated

import numpy as np


def precision_by_recall(evaluated: Evaluated, iou: float = 0.5) -> np.ndarray:
    """Precision at each level of recall, in percent, averaged over the classes with objects.

    At a recall that no score threshold reaches the precision of a class is 0.

    Args:
        evaluated: detections and ground truth.
        iou: lowest IoU of a correct detection.

    Returns:
        (101,), at the levels :data:`lowres_d2.evaluation.coco_engine.RECALLS`.
    """
    scores = score_boxes(
        evaluated.truth, evaluated.detections, [(0.0, math.inf)], [evaluated.max_dets], [iou]
    )
    by_class = scores.precision[0, :, :, 0]  # recall levels, classes
    return 100 * by_class[:, by_class[0] > -1].mean(axis=1)
