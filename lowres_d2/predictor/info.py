"""What a loaded model is, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from torch import nn

USUAL_SIZE = (480, 640)  # height and width of most of COCO's images


@dataclass(frozen=True)
class Info:
    """What a loaded model is.

    Attributes:
        recipe: the recipe's file, or the weights that hold it.
        weights: file or address.
        classes: names in the order of the labels.
        factor: pixels of the mapper's image in one of those that the network sees, along each side;
            of images that are downsampled and enlarged again in one of the smallest.
        resampler: name of the class that makes these.
        parameters: number, without those of training alone.
        macs: multiply-accumulates of one image of ``macs_size``, resampler included; of a model in
            tiles, of all tiles. Of a two-stage detector they depend a little on the image.
        ops: the same in OPs, in which those of 1 bit count 1/64, of 4 bits 1/8; of a real-valued
            model the MACs.
        macs_size: height and width of that image before the mapper resizes it; of a classifier,
            whose images all get one size, after that.
        knows: what a quick model was trained on, and knows alone; empty: not known.
    """

    recipe: str
    weights: str
    classes: tuple[str, ...]
    factor: Fraction
    resampler: str
    parameters: int
    macs: float
    ops: float
    macs_size: tuple[int, int]
    knows: str = ""


def describe(
    recipe: str,
    weights: str,
    classes: Sequence[str],
    model: nn.Module,
    inputs: dict[str, Any],
    knows: str = "",
) -> Info:
    """Count a model's MACs on an input, and say what it is.

    Args:
        recipe: as in :class:`Info`.
        weights: likewise.
        classes: likewise.
        model: of a packed one the network that it is of, whose MACs can be counted.
        inputs: of one image.
        knows: as in :class:`Info`.
    """
    # Here, since users who only detect need neither.
    from lowres_d2.analysis.cost.complexity import measure_complexity
    from lowres_d2.modeling.meta_arch import ImageClassifier
    from lowres_d2.modeling.tiles import untiled

    given = (inputs["height"], inputs["width"])
    classifies = any(isinstance(part, ImageClassifier) for part in model.modules())
    costs = measure_complexity(model, [inputs])
    resampler = getattr(untiled(model), "resampler", None)
    return Info(
        recipe=recipe,
        weights=weights,
        classes=tuple(classes),
        factor=_factor(resampler),
        resampler="Identity" if resampler is None else type(resampler).__name__,
        parameters=costs.total_parameters,
        macs=costs.total_macs,
        ops=costs.total_ops,
        macs_size=tuple(inputs["image"].shape[-2:]) if classifies else given,
        knows=knows,
    )


def _factor(resampler: nn.Module | None) -> Fraction:
    """The strongest downsampling on the way to the network."""
    names = ("factor", "degradation", "low_factor")
    return max(Fraction(getattr(resampler, name, 1)) for name in names)


def noise(channels: int) -> np.ndarray:
    """An image of the usual size, (H, W, C) uint8."""
    return np.random.default_rng(0).integers(0, 256, (*USUAL_SIZE, channels), np.uint8)
