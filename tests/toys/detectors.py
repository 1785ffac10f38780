"""Toy versions of the five detectors, and inputs for them: small, random, on the CPU.

Score thresholds are 0 so that untrained weights detect something everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lowres_d2  # noqa: F401
from lowres_d2.modeling.backbone import SmallResNet

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool
from detectron2.modeling.backbone.resnet import BasicBlock, ResNet
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.meta_arch.fcos import FCOS, FCOSHead
from detectron2.modeling.meta_arch.rcnn import GeneralizedRCNN
from detectron2.modeling.meta_arch.retinanet import RetinaNet, RetinaNetHead
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator.rpn import RPN, StandardRPNHead
from detectron2.modeling.roi_heads.box_head import FastRCNNConvFCHead
from detectron2.modeling.roi_heads.cascade_rcnn import CascadeROIHeads
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.modeling.roi_heads.roi_heads import Res5ROIHeads, StandardROIHeads
from detectron2.structures import Boxes, Instances
from torch import nn

NUM_CLASSES = 3
CHANNELS = 16
LEVELS = ["p2", "p3", "p4", "p5"]
STRIDES = [4, 8, 16, 32]
PIXELS = dict(pixel_mean=[110.0, 115.0, 120.0], pixel_std=[58.0, 57.0, 56.0])


def _fpn(top_block: nn.Module | None = None) -> FPN:
    bottom_up = SmallResNet(channels=(8, 12, 16, 20, 24))
    return FPN(bottom_up, ["res2", "res3", "res4", "res5"], CHANNELS, top_block=top_block)


def _shapes() -> list[ShapeSpec]:
    return [ShapeSpec(channels=CHANNELS, stride=stride) for stride in STRIDES]


def _anchors(strides: Sequence[int]) -> DefaultAnchorGenerator:
    return DefaultAnchorGenerator(
        sizes=[[2 * s] for s in strides], aspect_ratios=[0.5, 1.0, 2.0], strides=list(strides)
    )


def retinanet() -> RetinaNet:
    return RetinaNet(
        backbone=_fpn(),
        head=RetinaNetHead(
            input_shape=_shapes(),
            num_classes=NUM_CLASSES,
            num_anchors=3,
            conv_dims=[CHANNELS],
        ),
        head_in_features=LEVELS,
        anchor_generator=_anchors(STRIDES),
        box2box_transform=Box2BoxTransform(weights=[1.0, 1.0, 1.0, 1.0]),
        anchor_matcher=Matcher([0.4, 0.5], [0, -1, 1], allow_low_quality_matches=True),
        num_classes=NUM_CLASSES,
        test_score_thresh=0.0,
        **PIXELS,
    )


def fcos(kind: type[FCOS] = FCOS) -> FCOS:
    return kind(
        backbone=_fpn(),
        head=FCOSHead(input_shape=_shapes(), num_classes=NUM_CLASSES, conv_dims=[CHANNELS]),
        head_in_features=LEVELS,
        num_classes=NUM_CLASSES,
        test_score_thresh=0.0,
        **PIXELS,
    )


def _rpn(features: list[str], strides: Sequence[int], channels: int) -> RPN:
    return RPN(
        in_features=features,
        head=StandardRPNHead(in_channels=channels, num_anchors=3),
        anchor_generator=_anchors(strides),
        anchor_matcher=Matcher([0.3, 0.7], [0, -1, 1], allow_low_quality_matches=True),
        box2box_transform=Box2BoxTransform(weights=[1.0, 1.0, 1.0, 1.0]),
        batch_size_per_image=32,
        positive_fraction=0.5,
        pre_nms_topk=(200, 200),
        post_nms_topk=(50, 50),
    )


def _predictor(channels: int, weight: float = 10.0, **kwargs: Any) -> FastRCNNOutputLayers:
    return FastRCNNOutputLayers(
        ShapeSpec(channels=channels),
        box2box_transform=Box2BoxTransform(weights=(weight, weight, weight / 2, weight / 2)),
        num_classes=NUM_CLASSES,
        test_score_thresh=0.0,
        **kwargs,
    )


def _pooler() -> ROIPooler:
    return ROIPooler(
        output_size=4, scales=[1 / s for s in STRIDES], sampling_ratio=0, pooler_type="ROIAlignV2"
    )


def _box_head() -> FastRCNNConvFCHead:
    shape = ShapeSpec(channels=CHANNELS, height=4, width=4)
    return FastRCNNConvFCHead(shape, conv_dims=[], fc_dims=[32])


_ROI = dict(num_classes=NUM_CLASSES, batch_size_per_image=32, positive_fraction=0.25)


def faster_rcnn_fpn(
    kind: type[GeneralizedRCNN] = GeneralizedRCNN,
    heads_kind: type[StandardROIHeads] = StandardROIHeads,
    **of_heads: Any,
) -> GeneralizedRCNN:
    heads = heads_kind(
        box_in_features=LEVELS,
        box_pooler=_pooler(),
        box_head=_box_head(),
        box_predictor=_predictor(32),
        proposal_matcher=Matcher([0.5], [0, 1]),
        **_ROI,
        **of_heads,
    )
    rpn = _rpn([*LEVELS, "p6"], [*STRIDES, 64], CHANNELS)
    return kind(
        backbone=_fpn(LastLevelMaxPool()), proposal_generator=rpn, roi_heads=heads, **PIXELS
    )


def faster_rcnn_c4(
    kind: type[GeneralizedRCNN] = GeneralizedRCNN,
    heads_kind: type[Res5ROIHeads] = Res5ROIHeads,
    **of_heads: Any,
) -> GeneralizedRCNN:
    backbone = SmallResNet(
        channels=(8, 12, 16, 20), depths=(1, 1, 1), out_features=["res2", "res4"]
    )
    res5 = ResNet.make_stage(
        BasicBlock, 1, in_channels=20, out_channels=24, stride_per_block=[2], norm="BN"
    )
    heads = heads_kind(
        in_features=["res4"],
        pooler=ROIPooler(
            output_size=4, scales=[1 / 16], sampling_ratio=0, pooler_type="ROIAlignV2"
        ),
        res5=nn.Sequential(*res5),
        box_predictor=_predictor(24),
        proposal_matcher=Matcher([0.5], [0, 1]),
        **_ROI,
        **of_heads,
    )
    rpn = _rpn(["res4"], [16], 20)
    return kind(backbone=backbone, proposal_generator=rpn, roi_heads=heads, **PIXELS)


def cascade_rcnn(
    kind: type[GeneralizedRCNN] = GeneralizedRCNN,
    heads_kind: type[CascadeROIHeads] = CascadeROIHeads,
    **of_heads: Any,
) -> GeneralizedRCNN:
    heads = heads_kind(
        box_in_features=LEVELS,
        box_pooler=_pooler(),
        box_heads=[_box_head() for _ in range(3)],
        box_predictors=[_predictor(32, w, cls_agnostic_bbox_reg=True) for w in (10.0, 20.0, 30.0)],
        proposal_matchers=[Matcher([t], [0, 1]) for t in (0.5, 0.6, 0.7)],
        **_ROI,
        **of_heads,
    )
    rpn = _rpn([*LEVELS, "p6"], [*STRIDES, 64], CHANNELS)
    return kind(
        backbone=_fpn(LastLevelMaxPool()), proposal_generator=rpn, roi_heads=heads, **PIXELS
    )


DETECTORS = {
    "retinanet": retinanet,
    "fcos": fcos,
    "faster_rcnn_c4": faster_rcnn_c4,
    "faster_rcnn_fpn": faster_rcnn_fpn,
    "cascade_rcnn": cascade_rcnn,
}


def random_image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """A random uint8 image (3, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def random_instances(height: int, width: int, count: int = 4, seed: int = 0) -> Instances:
    """Random ground truth inside an image of this size."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, 2, generator=generator).sort(dim=1).values
    corners[:, 1] = corners[:, 1] * 0.9 + 0.1
    boxes = corners.flatten(1) * torch.tensor([width, height, width, height])
    instances = Instances((height, width))
    instances.gt_boxes = Boxes(boxes)
    instances.gt_classes = torch.arange(count) % NUM_CLASSES
    return instances


def training_input(height: int, width: int, seed: int = 0) -> dict[str, Any]:
    """One Detectron2 input with a random image and random ground truth."""
    return {
        "image": random_image(height, width, seed),
        "instances": random_instances(height, width, seed=seed),
        "height": height,
        "width": width,
    }


# Multiples of the factor and of the strides, and none; the smallest has less than a block of 32.
SIZES = [(203, 269), (256, 320), (128, 100), (37, 41)]


def with_spread_scores(detector: nn.Module, threshold: float = 0.05) -> nn.Module:
    """The detector in evaluation mode, its class logits far apart, and a score threshold."""
    torch.manual_seed(0)
    for name, module in detector.named_modules():
        if name.endswith(("cls_score", "class_heads.0")):
            nn.init.normal_(module.weight, std=1.0)
        if hasattr(module, "test_score_thresh"):
            module.test_score_thresh = threshold
    return detector.eval()


def inputs_of_several_sizes() -> list[dict]:
    """Images of several sizes, detections wanted in other ones."""
    return [
        {"image": random_image(*size, seed=seed), "height": 2 * size[0], "width": 3 * size[1]}
        for seed, size in enumerate(SIZES)
    ]
