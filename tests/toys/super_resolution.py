"""Toy two-stage detectors with super-resolved heads, and their plain forms."""

from __future__ import annotations

from typing import Any

import lowres_d2
from lowres_d2.modeling.meta_arch import SuperResolvedRCNN
from lowres_d2.modeling.roi_heads import (
    SRDiscriminator,
    SRGenerator,
    SuperResolution,
    SuperResolvedCascadeROIHeads,
    SuperResolvedRes5ROIHeads,
    SuperResolvedStandardROIHeads,
)

import pytest
import torch
from detectron2.modeling.meta_arch.rcnn import GeneralizedRCNN
from detectron2.modeling.poolers import ROIPooler
from torch import nn

from toys import detectors

# Upstream's heads log in training, which needs an event storage.
needs_no_run = pytest.mark.skipif(
    lowres_d2.detectron2_provider() != "bundled", reason="upstream's heads train only inside a run"
)

KINDS = {
    "faster_rcnn_c4": SuperResolvedRes5ROIHeads,
    "faster_rcnn_fpn": SuperResolvedStandardROIHeads,
    "cascade_rcnn": SuperResolvedCascadeROIHeads,
}
# Base channels, sub channels, sub layer and its stride.
_LAYERS = {
    "faster_rcnn_c4": (20, 12, "res2", 4),
    "faster_rcnn_fpn": (detectors.CHANNELS, detectors.CHANNELS, "p2", 4),
    "cascade_rcnn": (detectors.CHANNELS, detectors.CHANNELS, "p2", 4),
}


def super_resolution(name: str, supervision: str = "atrous", **kwargs: Any) -> SuperResolution:
    """Generator, discriminator and thresholds for a toy detector: 24 px, targets from 12 px on.

    A ``max_area`` of 0, which is refused as no region could be small, is set afterwards.
    """
    base, sub, layer, stride = _LAYERS[name]
    settings = dict(max_area=24.0**2, min_target_area=12.0**2) | kwargs
    none_small = settings["max_area"] == 0 and settings.pop("max_area") == 0
    rules = SuperResolution(
        generator=SRGenerator(base, sub, num_blocks=1),
        discriminator=None if supervision == "none" else SRDiscriminator(base, hidden=8),
        sub_in_features=[layer],
        sub_pooler=ROIPooler(4, [1 / stride], sampling_ratio=2, pooler_type="ROIAlignV2"),
        supervision=supervision,
        **{"max_area": 24.0**2} | settings,
    )
    if none_small:
        rules.max_area = 0.0
    return rules


def super_resolved(name: str, supervision: str = "atrous", **kwargs: Any) -> SuperResolvedRCNN:
    """A toy detector with super-resolved heads, in training mode; random weights.

    Args:
        name: name of the plain detector in ``detectors``.
        supervision: see ``SuperResolution``.
        **kwargs: further arguments of ``SuperResolution``.
    """
    model = detectors.DETECTORS[name](
        kind=SuperResolvedRCNN,
        heads_kind=KINDS[name],
        super_resolution=super_resolution(name, supervision, **kwargs),
    )
    return model.train()


def training_inputs() -> list[dict[str, Any]]:
    """Two random images of different sizes with random objects."""
    return [detectors.training_input(96, 128, 1), detectors.training_input(101, 90, 2)]


def evaluation_inputs() -> list[dict[str, Any]]:
    """The same images."""
    return [{k: v for k, v in x.items() if k != "instances"} for x in training_inputs()]


def freeze_all_but(model: nn.Module, *prefixes: str) -> set[str]:
    """Freeze all other parameters; returns the names of the trainable ones."""
    names = set()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(prefixes))
        if parameter.requires_grad:
            names.add(name)
    return names


def plain_form(name: str, model: nn.Module) -> GeneralizedRCNN:
    """The plain detector with the same weights."""
    plain = detectors.DETECTORS[name]()
    plain.load_state_dict(model.state_dict(), strict=False)
    return plain


def awaken(module: nn.Module) -> None:
    """Random weights for a generator, some of which start at zero."""
    generator = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        with torch.no_grad():
            parameter.normal_(0, 0.1, generator=generator)
