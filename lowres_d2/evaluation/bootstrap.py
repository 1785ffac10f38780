"""How far AP depends on the choice of test images: the bootstrap over images.

Efron, "Bootstrap Methods: Another Look at the Jackknife" (1979). The test images are drawn again,
as many and with replacement; AP of each such set is computed by faster-coco-eval from the matches
of each image, which are made once. Two detectors are compared on the same draws (paired), so that
images hard for both move neither's lead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lowres_d2.evaluation.coco_engine import COCO_IOU_THRESHOLDS, open_engine

import numpy as np

if TYPE_CHECKING:
    from lowres_d2.evaluation.evaluated import Evaluated

DRAWS = 300


def draw_images(number: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Indices (draws, number) of images, drawn with replacement; equal at every call."""
    return np.random.default_rng(seed).integers(0, number, (draws, number))


def resampled_ap(evaluated: Evaluated, draws: np.ndarray) -> np.ndarray:
    """AP over all sizes, in percent, of the whole set and of each draw of its images.

    Args:
        evaluated: detections and ground truth.
        draws: (B, images): indices of images in the order of their ids.

    Returns:
        (1 + B,): first that of the whole set; NaN where a draw has no object.
    """
    run = open_engine(
        evaluated.truth,
        evaluated.detections,
        [(0.0, math.inf)],
        [evaluated.max_dets],
        COCO_IOU_THRESHOLDS,
        separate_eval=True,
    )
    run.evaluate()
    # In the engine's order: category by category, all images of each.
    matches = np.empty(len(run._evalImgs_cpp), dtype=object)
    matches[:] = run._evalImgs_cpp
    matches = matches.reshape(-1, len(evaluated.truth["images"]))
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
    """By how much AP of one detector is higher than another's, with its interval.

    Args:
        better: :func:`resampled_ap` of one detector, one array for each seed it was trained with.
        worse: the other detector's, on the same draws.
        level: of the interval.

    Returns:
        The gain on the whole set, and the lower and upper end; means over the seeds.
    """
    gains = np.mean(better, axis=0) - np.mean(worse, axis=0)
    tail = 50 * (1 - level)
    low, high = np.nanpercentile(gains[1:], [tail, 100 - tail])
    return float(gains[0]), float(low), float(high)
