"""Average precision as the area under all points of a curve, and greedy matching for it.

Letters: D detections in descending order of score, G objects, T thresholds of overlap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HIT, MISS, IGNORED = 1, 0, -1


def all_points_ap(recall: np.ndarray, precision: np.ndarray) -> float:
    """Area under a curve whose precision is the best one at that recall or more.

    As Pascal VOC has it since 2010.

    Args:
        recall: ascending.
        precision: (as many) at these.
    """
    recall = np.concatenate([[0.0], recall])
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * best))


def overlaps(detections: np.ndarray, objects: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """(D, G) IoU of boxes XYWH; with ignored ones the share of the detection's own area.

    Args:
        detections: (D, 4).
        objects: (G, 4).
        ignored: (G,) which of these are ignore regions.
    """
    low = np.maximum(detections[:, None, :2], objects[None, :, :2])
    ends = [boxes[:, :2] + boxes[:, 2:] for boxes in (detections, objects)]
    high = np.minimum(ends[0][:, None], ends[1][None])
    shared = (high - low).clip(0).prod(axis=2)
    own = detections[:, 2:].prod(axis=1)[:, None]
    union = np.where(ignored, own, own + objects[:, 2:].prod(axis=1) - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def match_greedily(
    overlap: np.ndarray, ignored: np.ndarray, thresholds: Sequence[float]
) -> np.ndarray:
    """(T, D) HIT, MISS or IGNORED, matched one to one, highest score first.

    Objects come before ignore regions, in which any number of detections may lie.

    Args:
        overlap: (D, G) of :func:`overlaps`.
        ignored: (G,).
        thresholds: the T lowest overlaps of a match.
    """
    least = np.asarray(thresholds, dtype=np.float64)
    marks = np.full((len(least), len(overlap)), MISS, dtype=np.int8)
    # From the last object on, since of equal ones the last is taken.
    free_overlap = overlap[:, ~ignored][:, ::-1]
    in_region = overlap[:, ignored].max(axis=1, initial=0)
    taken = np.zeros((len(least), free_overlap.shape[1]), dtype=bool)
    rows = np.arange(len(least))
    for d, row in enumerate(free_overlap):
        marks[in_region[d] >= least, d] = IGNORED
        if not len(row):
            continue
        free = np.where(taken, -1, row)
        best = free.argmax(axis=1)
        found = free[rows, best] >= least
        taken[rows[found], best[found]] = True
        marks[found, d] = HIT
    return marks
