"""oLRP: Oksuz et al., "Localization Recall Precision (LRP): A New Performance Metric for Object
Detection" (ECCV 2018), Eq. 1 to 8. 0 is perfect and 1 the worst.

At a score threshold a class has TP matched detections, FP others and FN missed objects; the LRP
error is (sum of (1 - IoU) / (1 - tau) over the TP, + FP + FN) / (TP + FP + FN), where tau is the
lowest IoU of a match. oLRP is the smallest error over all thresholds. The paper's first code tries
thresholds 0, 0.01, ... 1; here, as in the code of the later version (TPAMI 2021), every score is
one, so that the scale of the scores does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lowres_d2.evaluation.lrp.matches import ClassMatches

import numpy as np


@dataclass(frozen=True)
class OptimalLRP:
    """oLRP and its parts at the best threshold, as fractions; None where nothing is counted.

    Attributes:
        error: oLRP; None without objects.
        localisation: mean 1 - IoU of matched detections.
        false_positives: share of the detections that are false, 1 - precision.
        misses: share of the objects that are missed, 1 - recall.
    """

    error: float | None
    localisation: float | None = None
    false_positives: float | None = None
    misses: float | None = None


def optimal_lrp(found: ClassMatches, iou: float) -> OptimalLRP:
    """oLRP of a class.

    Args:
        found: its detections, matched from this IoU.
        iou: tau, the lowest IoU of a match.
    """
    if not found.objects:
        return OptimalLRP(None)
    # Detections of equal scores are kept together; without any of them all objects are missed.
    last = np.flatnonzero(np.diff(found.scores, append=-np.inf)) + 1
    kept = np.concatenate([[0], last])
    correct = found.overlap > 0
    matched, away = (
        np.concatenate([[0], np.cumsum(values)])[kept]
        for values in (correct, np.where(correct, 1 - found.overlap, 0))
    )
    false, missed = kept - matched, found.objects - matched
    error = (away / (1 - iou) + false + missed) / (matched + false + missed)
    best = int(np.argmin(error))
    return OptimalLRP(
        float(error[best]),
        float(away[best] / matched[best]) if matched[best] else None,
        float(false[best] / kept[best]) if kept[best] else None,
        float(missed[best] / found.objects),
    )


def mean_of_classes(classes: Iterable[OptimalLRP]) -> OptimalLRP:
    """The mean of each number over the classes that have it."""
    classes = list(classes)
    names = ("error", "localisation", "false_positives", "misses")
    known = ([v for row in classes if (v := getattr(row, name)) is not None] for name in names)
    return OptimalLRP(*(sum(values) / len(values) if values else None for values in known))
