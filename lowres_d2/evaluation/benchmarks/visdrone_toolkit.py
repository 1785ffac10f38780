"""The numbers of VisDrone-DET's own toolkit, github.com/VisDrone/VisDrone2018-DET-toolkit.

As its MATLAB code has it, which is not all as its documentation and its paper say:

1. Objects and detections of which half or more lies in ignored regions are dropped. Shares are
   counted in pixels, of boxes rounded to these; a region has a row and a column more than its size.
2. Of the detections that remain, the first 500 of an image count, of all classes together; here by
   score, where the toolkit takes the order of the file.
3. Objects with score 0 are ignore regions of their class, but their number is in recall's
   denominator. Detections of other vehicles are false positives.
4. AP is the area under all points of the curve. The mean over classes weights each by the number of
   images that have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lowres_d2.evaluation.benchmarks.all_points import (
    HIT,
    MISS,
    all_points_ap,
    match_greedily,
    overlaps,
)
from lowres_d2.evaluation.coco_engine import COCO_IOU_THRESHOLDS

import numpy as np

CAPS = (1, 10, 100, 500)
_HALF = 0.5


class DroneImage(NamedTuple):
    """The ground truth of an image; boxes are XYWH in pixels.

    Attributes:
        height: of the image.
        width: of the image.
        regions: (n, 4) ignored regions.
        boxes: (G, 4) objects of classes that are scored.
        labels: (G,) their contiguous classes.
        ignored: (G,) those with score 0.
    """

    height: int
    width: int
    regions: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray


class Detected(NamedTuple):
    """Detections of an image: boxes XYWH, scores, contiguous classes."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


def outside_regions(boxes: np.ndarray, image: DroneImage) -> np.ndarray:
    """Which boxes (n, 4) lie in ignored regions with less than half of their pixels."""
    if not len(image.regions) or not len(boxes):
        return np.ones(len(boxes), dtype=bool)
    height, width = image.height, image.width
    # Pixels are numbered from 1, and row and column 0 are the sums' zeros.
    covered = np.zeros((height + 1, width + 1), dtype=np.int32)
    for x, y, w, h in np.maximum(image.regions, 1).astype(int):
        covered[y : min(height, y + h) + 1, x : min(width, x + w) + 1] = 1
    sums = covered.cumsum(axis=0).cumsum(axis=1)
    x, y, w, h = np.maximum(np.floor(boxes + 0.5), 1).astype(int).T
    x, y = np.minimum(x, width), np.minimum(y, height)
    right, bottom = np.minimum(x + w, width), np.minimum(y + h, height)
    inside = sums[y, x] + sums[bottom, right] - sums[y, right] - sums[bottom, x]
    return inside / (w * h) < _HALF


def toolkit_metrics(
    images: Sequence[DroneImage], found: Sequence[Detected], num_classes: int
) -> dict[str, float | None]:
    """AP, AP50, AP75, AR1, AR10, AR100 and AR500 in percent; None without any object.

    Args:
        images: ground truth.
        found: detections of these images.
        num_classes: number of classes.
    """
    ap = np.zeros((num_classes, len(COCO_IOU_THRESHOLDS)))
    ar = np.zeros((num_classes, len(COCO_IOU_THRESHOLDS), len(CAPS)))
    pairs = [_remaining(image, own) for image, own in zip(images, found, strict=True)]
    weights = np.array([sum(k in image.labels for image, _ in pairs) for k in range(num_classes)])
    for label in np.flatnonzero(weights):
        marks, scores, ranks, objects = _of_class(pairs, int(label))
        order = np.argsort(-scores, kind="stable")
        hits = (marks[:, order] == HIT).cumsum(axis=1)
        misses = (marks[:, order] == MISS).cumsum(axis=1)
        recall = hits / max(1, objects)
        precision = hits / np.maximum(1, hits + misses)
        ap[label] = [all_points_ap(*curve) for curve in zip(recall, precision, strict=True)]
        for m, cap in enumerate(CAPS):
            ar[label, :, m] = (marks[:, ranks < cap] == HIT).sum(axis=1) / max(1, objects)
    total = weights.sum()
    if not total:
        return dict.fromkeys(("AP", "AP50", "AP75", *(f"AR{cap}" for cap in CAPS)))
    mean_ap, mean_ar = 100 * weights @ ap / total, 100 * np.tensordot(weights, ar, 1) / total
    named = {"AP": mean_ap.mean(), "AP50": mean_ap[0], "AP75": mean_ap[5]}
    named |= {f"AR{cap}": mean_ar[:, m].mean() for m, cap in enumerate(CAPS)}
    return {name: float(value) for name, value in named.items()}


def _remaining(image: DroneImage, own: Detected) -> tuple[DroneImage, Detected]:
    """What is outside of ignored regions; detections by score, as many as count."""
    kept = outside_regions(image.boxes, image)
    image = image._replace(
        boxes=image.boxes[kept], labels=image.labels[kept], ignored=image.ignored[kept]
    )
    order = np.flatnonzero(outside_regions(own.boxes, image))
    order = order[np.argsort(-own.scores[order], kind="stable")][: CAPS[-1]]
    return image, Detected(own.boxes[order], own.scores[order], own.labels[order])


def _of_class(
    pairs: Sequence[tuple[DroneImage, Detected]], label: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Marks (T, D), scores (D,), ranks in their images (D,) of a class, and number of objects."""
    marks, scores, ranks, objects = [], [], [], 0
    for image, own in pairs:
        truth, given = image.labels == label, own.labels == label
        ignored = image.ignored[truth]
        overlap = overlaps(own.boxes[given], image.boxes[truth], ignored)
        marks.append(match_greedily(overlap, ignored, COCO_IOU_THRESHOLDS))
        scores.append(own.scores[given])
        ranks.append(np.flatnonzero(given))
        objects += int(truth.sum())
    return np.concatenate(marks, axis=1), np.concatenate(scores), np.concatenate(ranks), objects
