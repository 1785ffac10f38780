"""Deformable DETR on a bottleneck ResNet of any size, with random weights and raw pixels."""

from __future__ import annotations

from typing import Any

import lowres_d2  # noqa: F401
from lowres_d2.modeling.deformable_detr.criterion import SetCriterion
from lowres_d2.modeling.deformable_detr.matcher import HungarianMatcher
from lowres_d2.modeling.meta_arch.deformable_detr import DeformableDETR

from detectron2.modeling.backbone.resnet import BasicStem, BottleneckBlock, ResNet

FEATURES = ["res3", "res4", "res5"]
VARIANTS = {
    "plain": {},
    "refine": {"with_box_refine": True},
    "two_stage": {"with_box_refine": True, "two_stage": True},
}
SMALL = dict(
    widths=(8, 16, 24, 32, 40),
    depths=(1, 2, 1, 1),
    channels=32,
    heads=4,
    layers=(2, 3),
    feedforward=48,
    queries=12,
    classes=5,
)


def bottleneck_stages(size: dict[str, Any], norm: str) -> list:
    """The stages of its backbone."""
    widths = size["widths"]
    return [
        ResNet.make_stage(
            BottleneckBlock,
            depth,
            in_channels=widths[i],
            out_channels=widths[i + 1],
            bottleneck_channels=widths[i + 1] // 4,
            stride_per_block=[2 if i else 1] + [1] * (depth - 1),
            stride_in_1x1=False,
            norm=norm,
        )
        for i, depth in enumerate(size["depths"])
    ]


def deformable_detr(size: dict[str, Any], **variant: bool) -> DeformableDETR:
    """A model of this size, in evaluation mode."""
    widths = size["widths"]
    stages = bottleneck_stages(size, "FrozenBN")
    return DeformableDETR(
        ResNet(BasicStem(3, widths[0], norm="FrozenBN"), stages, out_features=FEATURES),
        FEATURES,
        size["classes"],
        SetCriterion(size["classes"], HungarianMatcher()),
        pixel_mean=[0.0, 0.0, 0.0],
        pixel_std=[1.0, 1.0, 1.0],
        num_queries=size["queries"],
        channels=size["channels"],
        num_heads=size["heads"],
        feedforward=size["feedforward"],
        encoder_layers=size["layers"][0],
        decoder_layers=size["layers"][1],
        **variant,
    ).eval()
