"""How far a metric depends on the choice of test images: the bootstrap over images.

Efron, "Bootstrap Methods: Another Look at the Jackknife" (1979). The test images are drawn again,
as many and with replacement; AP of each such set is computed by faster-coco-eval from the matches
of each image, which are made once. Two detectors are compared on the same draws (paired), so that
images hard for both move neither's lead. Which metric is drawn again an evaluator says: its main
one, and others that its benchmark is known for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lowres_d2.evaluation.coco_engine import COCO_IOU_THRESHOLDS, open_engine

import numpy as np

DRAWS = 300


def draw_images(number: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Indices (draws, number) of images, drawn with replacement; equal at every call."""
    return np.random.default_rng(seed).integers(0, number, (draws, number))


def resampled_ap(
    ground_truth: dict,
    detections: Sequence[dict],
    max_dets: int,
    draws: np.ndarray,
    iou_thresholds: Sequence[float] = COCO_IOU_THRESHOLDS,
    area: tuple[float, float] = (0.0, math.inf),
) -> np.ndarray:
    """AP in percent, of the whole set and of each draw of its images.

    Args:
        ground_truth: as :func:`lowres_d2.evaluation.coco_engine.score_boxes` takes it.
        detections: COCO results.
        max_dets: cap on detections per image and class.
        draws: (B, images): indices of images in the order of their ids.
        iou_thresholds: AP is the mean over these.
        area: range of area in square pixels.

    Returns:
        (1 + B,): first that of the whole set; NaN where a draw has no object.
    """
    run = open_engine(
        ground_truth, detections, [area], [max_dets], iou_thresholds, separate_eval=True
    )
    run.evaluate()
    # In the engine's order: category by category, all images of each.
    matches = np.empty(len(run._evalImgs_cpp), dtype=object)
    matches[:] = run._evalImgs_cpp
    matches = matches.reshape(-1, len(ground_truth["images"]))
    found = []
    for draw in (np.arange(matches.shape[1]), *draws):
        run._evalImgs_cpp = matches[:, draw].ravel().tolist()
        run.accumulate()
        precision = np.asarray(run.eval["precision"])
        known = precision[precision > -1]
        found.append(100 * known.mean() if known.size else np.nan)
    return np.array(found)


def gain_interval(
    better: Sequence[np.ndarray], worse: Sequence[np.ndarray], level: float = 0.95
) -> tuple[float, float, float]:
    """By how much a metric of one model is higher than another's, with its interval.

    Args:
        better: (1 + B,) of one model, of the whole set and of the draws; one array for each seed
            it was trained with.
        worse: the other model's, on the same draws.
        level: of the interval.

    Returns:
        The gain on the whole set, and the lower and upper end; means over the seeds.
    """
    gains = np.mean(better, axis=0) - np.mean(worse, axis=0)
    tail = 50 * (1 - level)
    low, high = np.nanpercentile(gains[1:], [tail, 100 - tail])
    return float(gains[0]), float(low), float(high)
