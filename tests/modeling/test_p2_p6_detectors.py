"""The detectors on P2 to P6 in ``configs/common/models``: DFRDet's real-valued ones."""

from __future__ import annotations

from pathlib import Path

from lowres_d2.modeling.backbone import LastLevelP6
from lowres_d2.modeling.without_values import without_values

import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.structures import Boxes
from detectron2.utils.events import EventStorage
from torch import nn

from toys.narrow import CLASSES, narrow, toy_images

MODELS = Path(__file__).parents[2] / "configs/common/models"
NAMES = ["fcos", "retinanet", "faster_rcnn"]
LEVELS = ["p2", "p3", "p4", "p5", "p6"]


def config(name):
    return LazyConfig.load(str(MODELS / f"{name}_r18_p2_p6.py")).model


def built(name):
    with without_values():
        return instantiate(config(name))


def narrow_detector(name):
    cfg = config(name)
    narrow(cfg)
    (cfg.roi_heads if "roi_heads" in cfg else cfg).num_classes = CLASSES
    torch.manual_seed(0)
    return instantiate(cfg)


@pytest.mark.parametrize(
    ("name", "counted", "megabytes"),
    [
        # The memory that the paper's Table 2 gives: FCOS without norms and biases, the others with.
        ("fcos", lambda p: p.ndim > 1, 76.44),
        ("retinanet", lambda p: True, 79.73),
        ("faster_rcnn", lambda p: True, 113.26),
    ],
)
def test_memory_is_that_of_the_paper(name, counted, megabytes):
    numbers = sum(p.numel() for p in built(name).parameters() if counted(p))
    assert 4 * numbers / 1e6 == pytest.approx(megabytes, rel=0.001)


@pytest.mark.parametrize("name", NAMES)
def test_levels_are_p2_to_p6_and_nothing_is_frozen(name):
    model = built(name)
    shapes = model.backbone.output_shape()
    assert {level: shape.stride for level, shape in shapes.items()} == dict(
        zip(LEVELS, (4, 8, 16, 32, 64), strict=True)
    )
    two_stage = name == "faster_rcnn"
    assert list(model.proposal_generator.in_features if two_stage else shapes) == LEVELS
    assert all(p.requires_grad for p in model.parameters())
    norms = [m for m in model.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 20  # 17 convolutions and 3 shortcuts of ResNet-18


@pytest.mark.parametrize(("name", "source"), [("fcos", "fpn_output5"), ("retinanet", "bottom_up")])
def test_p6_is_learned_from_p5_or_res5(name, source):
    model = narrow_detector(name).eval()
    x = torch.rand(1, 3, 128, 192)
    features = model.backbone(x)
    stage = features["p5"] if source == "fpn_output5" else model.backbone.bottom_up(x)["res5"]
    assert torch.equal(features["p6"], model.backbone.top_block.p6(stage))
    assert features["p6"].shape[2:] == (2, 3)


@pytest.mark.parametrize(("norm", "names"), [("", {"weight", "bias"}), ("BN", {"weight", "norm."})])
def test_the_top_block_halves_any_size(norm, names):
    block = LastLevelP6(3, 5, norm=norm)
    for side, half in ((1, 1), (2, 1), (7, 4), (8, 4)):
        (level,) = block(torch.rand(2, 3, side, 9))
        assert level.shape == (2, 5, half, 5)
    own = {name.removeprefix("p6.") for name, _ in block.named_parameters()}
    assert {name if name in ("weight", "bias") else name[:5] for name in own} == names


@pytest.mark.parametrize("name", NAMES)
def test_a_narrow_one_trains_and_detects(name):
    model = narrow_detector(name).train()
    with EventStorage(0):
        losses = model(toy_images())
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    unreached = [n for n, p in model.named_parameters() if p.grad is None]
    assert not unreached
    with torch.no_grad():
        found = model.eval()(toy_images())[0]["instances"]
    assert len(found.scores) <= 1500


@pytest.mark.parametrize(
    ("side", "level"), [(4, 0), (35, 0), (70, 1), (140, 2), (280, 3), (700, 4)]
)
def test_fcos_learns_an_object_on_the_level_for_its_size(side, level):
    model = narrow_detector("fcos")
    shapes = [torch.zeros(1, 1, 1024 // stride, 1024 // stride) for stride in (4, 8, 16, 32, 64)]
    anchors = model.anchor_generator(shapes)
    box = Boxes(torch.tensor([[512.0, 512.0, 512.0 + side, 512.0 + side]]))
    suits = model._match_anchors(box, anchors)[0].split([len(a) for a in anchors])
    assert [k for k, cells in enumerate(suits) if cells.any()] == [level]


def test_anchors_start_at_4_strides_of_retinanet_and_8_of_the_rpn():
    retinanet = config("retinanet").anchor_generator
    rpn = config("faster_rcnn").proposal_generator.anchor_generator
    for generator, strides, number in ((retinanet, 4, 9), (rpn, 8, 3)):
        generator = instantiate(generator)
        sides = [cells[:, 2:] - cells[:, :2] for cells in generator.cell_anchors]
        areas = [float(side.prod(dim=1).min()) ** 0.5 for side in sides]
        assert areas == pytest.approx([strides * s for s in (4, 8, 16, 32, 64)], rel=1e-4)
        assert generator.num_anchors == [number] * 5
