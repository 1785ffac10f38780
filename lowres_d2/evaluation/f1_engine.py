"""Matches objects and detections as the Tsinghua-Tencent 100K benchmark does, and counts them.

Axes: G objects and D detections of all images together; P pairs of an object and a detection.
``group`` numbers the image and class of each. Boxes are XYXY in pixels of the original image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Boxes:
    """Objects or detections.

    Attributes:
        boxes: (N, 4).
        group: (N,) number of the image and class.
        size: (N,) in pixels; it decides the size range.
    """

    boxes: np.ndarray
    group: np.ndarray
    size: np.ndarray


@dataclass(frozen=True)
class Pairs:
    """Pairs of an object and a detection that may be matched, best first.

    Attributes:
        objects: (P,) index into G.
        detections: (P,) index into D.
    """

    objects: np.ndarray
    detections: np.ndarray


@dataclass(frozen=True)
class Counts:
    """Counts of one size range; ``correct`` is the number of matched pairs."""

    objects: int
    detections: int
    correct: int


def candidate_pairs(objects: Boxes, detections: Boxes, iou: float) -> Pairs:
    """All pairs of one image and class with an IoU over ``iou``, highest IoU first.

    Equal IoUs are in the order of the objects, then of the detections.
    """
    # Sorted by group, the detections of an object's image and class are one slice.
    order = np.argsort(detections.group, kind="stable")
    groups = detections.group[order]
    first = np.searchsorted(groups, objects.group, side="left")
    number = np.searchsorted(groups, objects.group, side="right") - first
    rows = np.repeat(np.arange(len(objects.group)), number)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(number) - number, number)
    columns = order[np.repeat(first, number) + within]
    overlap = _iou(objects.boxes[rows], detections.boxes[columns])
    keep = overlap > iou
    rows, columns, overlap = rows[keep], columns[keep], overlap[keep]
    best_first = np.lexsort((columns, rows, -overlap))
    return Pairs(rows[best_first], columns[best_first])


def match(pairs: Pairs, alive: np.ndarray) -> np.ndarray:
    """Match one to one, from the first pair to the last.

    Args:
        pairs: in the order in which they are tried.
        alive: (D,) bool: which detections take part.

    Returns:
        (D,) the object that each detection is matched to, or -1.
    """
    matched = np.full(len(alive), -1)
    taking_part = alive[pairs.detections]
    rows, columns = pairs.objects[taking_part], pairs.detections[taking_part]
    # A pair that is the first one of both its object and its detection is one that sequential
    # matching would take. All of these are taken at once, and pairs that share an object or a
    # detection with them are removed. A few rounds are enough.
    while len(rows):
        take = _is_first(rows) & _is_first(columns)
        matched[columns[take]] = rows[take]
        stay = ~np.isin(rows, rows[take]) & ~np.isin(columns, columns[take])
        rows, columns = rows[stay], columns[stay]
    return matched


def count_size_range(
    objects_inside: np.ndarray,
    detections_inside: np.ndarray,
    matched: np.ndarray,
    alive: np.ndarray,
) -> Counts:
    """Count in one size range.

    An object outside the size range is ignored, and its detection with it. A matched detection is
    counted with its object, whatever its own size; only an unmatched one counts by its own size.

    Args:
        objects_inside: (G,) bool.
        detections_inside: (D,) bool, by their own size.
        matched: (D,) from :func:`match`.
        alive: (D,) bool: which detections take part.
    """
    correct = int(objects_inside[matched[matched >= 0]].sum())
    false = int((detections_inside & alive & (matched < 0)).sum())
    return Counts(int(objects_inside.sum()), correct + false, correct)


def _is_first(values: np.ndarray) -> np.ndarray:
    """For each entry, whether none before it is the same."""
    first = np.zeros(len(values), dtype=bool)
    first[np.unique(values, return_index=True)[1]] = True
    return first


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of box k with box k, (N,)."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    both = np.clip(high - low, 0, None).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - both
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)
