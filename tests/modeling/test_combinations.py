"""1-bit detectors on bottom-heavy backbones and HRNets, with a teacher, all losses, a resampler."""

from __future__ import annotations

from lowres_d2.deploy.one_bit import pack
from lowres_d2.layers.one_bit import BinaryWeights
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import (
    HRFPN,
    BottomHeavyHRNet,
    HRNet,
    SmallShortcutResNet,
    bottom_heavy,
)
from lowres_d2.modeling.deformable_detr.criterion import SetCriterion
from lowres_d2.modeling.deformable_detr.matcher import HungarianMatcher
from lowres_d2.modeling.meta_arch import AnyFactorDetector
from lowres_d2.modeling.meta_arch.deformable_detr import DeformableDETR
from lowres_d2.modeling.objectives import (
    DenseBoxDistillation,
    DenseLogitDistillation,
    FeatureDistillation,
    FeaturePair,
    ForegroundRefinement,
    ImageDecoder,
    MomentMatching,
    ProposalLogitDistillation,
    QueryLogitDistillation,
    WeightReconstruction,
)
from lowres_d2.modeling.one_bit import binarized
from lowres_d2.modeling.resample import AnyFactor, DownUp, Identity, LearnedDownsampler
from lowres_d2.modeling.teacher import Teacher
from lowres_d2.modeling.without_values import without_values

import pytest
import torch
from detectron2.modeling.box_regression import Box2BoxTransformLinear
from detectron2.utils.events import EventStorage
from torch import nn

from toys.detectors import (
    CHANNELS,
    DETECTORS,
    LEVELS,
    NUM_CLASSES,
    PIXELS,
    STRIDES,
    training_input,
)

FEW = ((1, 1), (1, 1), (1, 1))  # modules and blocks of an HRNet's stages
STAGES = ["res2", "res3", "res4", "res5"]
BACKBONES = {
    "bh_resnet": lambda: bottom_heavy(
        SmallShortcutResNet((8, 12, 16, 20, 24), (1, 1, 2, 1)), blocks=[2, 1, 1, 1]
    ),
    "hrnet": lambda: HRNet(8, stages=FEW, freeze_at=2),
    "bh_hrnet": lambda: BottomHeavyHRNet(8, stages=FEW),
}
RESAMPLERS = {
    "learned": lambda: LearnedDownsampler(2),
    "down_up": lambda: DownUp(2),
    "any_factor": lambda: AnyFactor([Identity(), LearnedDownsampler(2)], factor=2),
}


def detector(name, backbone):
    model = DETECTORS[name]()
    if "hrnet" in backbone:
        model.backbone = HRFPN(BACKBONES[backbone](), STAGES, CHANNELS, 5 if "rcnn" in name else 4)
    else:
        model.backbone.bottom_up = BACKBONES[backbone]()
    return model


def losses_of_all_papers(name, backbone):
    finest = "backbone.outputs.0" if "hrnet" in backbone else "backbone.fpn_output2"
    decoder = ImageDecoder(["p2", "p3"], dict(zip(LEVELS, STRIDES, strict=True)), CHANNELS, 8, 1)
    objectives = [
        FeatureDistillation([FeaturePair(finest, 4)]),
        MomentMatching(),
        ForegroundRefinement(decoder),
        WeightReconstruction(),
    ]
    if "rcnn" in name:
        return [*objectives, ProposalLogitDistillation()]
    boxes = Box2BoxTransformLinear(normalize_by_size=True)
    return [
        *objectives,
        DenseLogitDistillation(STRIDES, threshold=0),
        DenseBoxDistillation(STRIDES, boxes, threshold=0),
    ]


@pytest.mark.parametrize(
    ("name", "backbone", "resampler"),
    [
        ("fcos", "hrnet", "learned"),
        ("faster_rcnn_fpn", "bh_hrnet", "any_factor"),
        ("fcos", "bh_resnet", "down_up"),
    ],
)
def test_all_parts_train_together(name, backbone, resampler):
    torch.manual_seed(0)
    teacher = Teacher(detector(name, backbone), checkpoint=None)
    student = binarized(detector(name, backbone))
    kind = AnyFactorDetector if resampler == "any_factor" else LowResDetector
    model = kind(
        student,
        RESAMPLERS[resampler](),
        teacher=teacher,
        objectives=losses_of_all_papers(name, backbone),
    ).train()
    with EventStorage(0):
        losses = model([training_input(64, 96)])
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    parts = {loss.split("_")[1] for loss in losses}
    assert {"feature", "moments", "foreground", "binary", "logit"} <= parts
    layers = {n: m for n, m in student.named_modules() if isinstance(m, BinaryWeights)}
    learning = {n for n, m in layers.items() if m.weight.grad is not None and m.weight.grad.any()}
    frozen = {n for n in layers if backbone == "hrnet" and ".network.layer1." in n}
    assert learning == layers.keys() - frozen and len(learning) > 10


@pytest.mark.parametrize("backbone", ["hrnet", "bh_hrnet"])
def test_the_converters_groups_know_hrnets(backbone):
    """The first layers and shortcuts have timm's names there, and the pyramid its own."""
    with without_values():
        real = detector("fcos", backbone)
        found = binarized(detector("fcos", backbone), ["first", "shortcuts", "last", "pyramid"])
    layers = {n for n, m in real.named_modules() if isinstance(m, nn.Conv2d)}
    kept = layers - {n for n, m in found.named_modules() if isinstance(m, BinaryWeights)}
    network = "backbone.bottom_up.network"
    assert kept == {
        f"{network}.conv1",
        f"{network}.conv2",
        f"{network}.layer1.0.downsample.0",
        "backbone.reduce",
        *(f"backbone.outputs.{k}" for k in range(4)),
        "head.cls_score",
        "head.bbox_pred",
        "head.ctrness",
    }


def test_a_packed_hrnet_has_the_same_features():
    torch.manual_seed(0)
    network = binarized(BottomHeavyHRNet(18, stages=FEW), ["first", "shortcuts"]).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    images = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        for found, expected in zip(
            pack(network)(images).values(), network(images).values(), strict=True
        ):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("backbone", ["hrnet", "bh_resnet"])
def test_deformable_detr_learns_queries_with_each(backbone):
    torch.manual_seed(0)
    size = dict(num_queries=6, channels=32, num_heads=2, feedforward=16)
    student, other = (
        DeformableDETR(
            BACKBONES[backbone](),
            ["res3", "res4", "res5"],
            NUM_CLASSES,
            SetCriterion(NUM_CLASSES, HungarianMatcher()),
            **PIXELS,
            **size,
            encoder_layers=1,
            decoder_layers=1,
        )
        for _ in range(2)
    )
    model = LowResDetector(
        binarized(student, ["first", "shortcuts", "neck*", "encoder*", "decoder*", "*_heads"]),
        LearnedDownsampler(2),
        teacher=Teacher(other, checkpoint=None),
        objectives=[QueryLogitDistillation(threshold=1.0)],
    ).train()
    with EventStorage(0):
        losses = model([training_input(128, 192)])
    losses["loss_logit_cls"].backward()
    layers = [m for m in student.backbone.modules() if isinstance(m, BinaryWeights)]
    assert torch.isfinite(losses["loss_logit_cls"]) and layers
