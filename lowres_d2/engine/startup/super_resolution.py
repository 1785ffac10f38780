"""Describe before the first iteration which objects super-resolution is for and which can teach it.

Areas are in square pixels of the detector's input. Proposals decide in training; objects stand for
them here, since a proposal that is learned from lies on one.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from lowres_d2.analysis.matching.match_report import GroundTruth
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.roi_heads import SuperResolution
from lowres_d2.modeling.tiles import untiled

import torch
from detectron2.structures import Boxes
from torch import nn


def describe_super_resolution(model: nn.Module, images: Sequence[GroundTruth]) -> tuple[str, str]:
    """Shares of the objects that are small, and that can be targets of the small ones' features.

    Args:
        model: built.
        images: some images' objects, as the model gets them.

    Returns:
        A line and a warning, each empty where there is nothing to say.
    """
    found = next((m for m in model.modules() if isinstance(m, SuperResolution)), None)
    if found is None or not any(len(truth.boxes) for truth in images):
        return "", ""
    model = untiled(model)
    factor = model.resampler.factor if isinstance(model, LowResDetector) else Fraction(1)
    scaled = [truth.boxes * factor.denominator / factor.numerator for truth in images]
    boxes = [Boxes(torch.cat(scaled))]
    small = found.is_small(boxes)[0].float().mean().item()
    text = (
        f"super-resolution: {_percent(small)} of the objects are small (area under max_area "
        f"{_square(found.max_area)})"
    )
    if found.supervision == "none":
        return text, ""
    can_teach = torch.stack([found.is_pair(boxes, ratio)[0] for ratio in found.ratios]).any(0)
    teach = can_teach.float().mean().item()
    text += (
        f", {_percent(teach)} can teach (from min_target_area {_square(found.min_target_area)} on, "
        f"and small once downsampled {'x, '.join(map(str, found.ratios))}x)"
    )
    warning = ""
    if not small:
        warning = (
            "no object is small: super-resolution has nothing to do; raise the super_resolution's "
            f"max_area ({_square(found.max_area)} now)"
        )
    elif not teach:
        warning = (
            "no object can teach super-resolution: lower the super_resolution's min_target_area "
            f"({_square(found.min_target_area)} now), or raise its max_area"
        )
    return text, warning


def _square(area: float) -> str:
    return f"{area**0.5:g}^2"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share in (0, 1) or 0.01 <= share <= 0.99 else f"{share:.2%}"
