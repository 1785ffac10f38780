"""The detectors of BottomHeavy in ``configs/common/models``, and what they cost on 640x512."""

from __future__ import annotations

from pathlib import Path

from lowres_d2.analysis.cost.complexity import counted
from lowres_d2.analysis.cost.counting_rules import MACS, MMCV
from lowres_d2.modeling.meta_arch import ImageClassifier
from lowres_d2.modeling.weights import load_weights
from lowres_d2.modeling.without_values import without_values

import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.utils.events import EventStorage

from toys.narrow import CLASSES, load_shipped, narrow, toy_images

MODELS = Path(__file__).parents[2] / "configs/common/models"
LEVELS = ["p2", "p3", "p4", "p5", "p6"]
BACKBONES = LazyConfig.load(str(MODELS / "bottom_heavy.py"))
NAMES = ["faster_rcnn", "cascade_rcnn", "fcos", "retinanet"]


def config(detector, backbone="bh_resnet50"):
    cfg = LazyConfig.load(str(MODELS / f"{detector}_bh_r50.py")).model
    if "hrnet" in backbone:
        cfg.backbone = BACKBONES.hrfpn
    cfg.backbone.bottom_up = BACKBONES[backbone]
    return cfg


def giga(detector, backbone):
    """FLOPs by mmcv's rule on an image of 640x512, of 1000 proposals in a two-stage detector."""
    with without_values():
        model = instantiate(config(detector, backbone)).to("meta").eval()
    image = torch.empty(1, 3, 512, 640, device="meta")
    with counted(MMCV) as count:
        features = model.backbone(image)
        levels = [features[name] for name in LEVELS]
        if detector == "fcos":
            model.head(levels)
        else:
            model.proposal_generator.rpn_head(levels)
            heads = model.roi_heads
            heads.box_predictor(heads.box_head(torch.empty(1000, 256, 7, 7, device="meta")))
    return count() / 1e9


@pytest.mark.parametrize(
    ("detector", "backbone", "paper", "within"),
    [
        ("faster_rcnn", "resnet50", 75.58, 0.001),
        ("faster_rcnn", "bh_resnet50", 75.79, 0.001),
        ("faster_rcnn", "hrnet32", 100.66, 0.001),
        ("faster_rcnn", "hrnet18", 69.33, 0.001),
        ("faster_rcnn", "bh_hrnet32", 100.62, 0.01),
        ("faster_rcnn", "bh_hrnet18", 69.28, 0.01),
        ("fcos", "resnet50", 174.74, 0.001),
        ("fcos", "bh_resnet50", 174.95, 0.001),
    ],
)
def test_costs_are_those_of_tables_6_and_7(detector, backbone, paper, within):
    assert giga(detector, backbone) == pytest.approx(paper, rel=within)


def test_quick_twins_have_equal_macs_and_the_bottom_heavy_one_fewer_parameters():
    found = {}
    for name in ("standard", "bh"):
        cfg = load_shipped(f"projects/BottomHeavy/configs/quick/{name}_fcos_small_256_tiny.py")
        with without_values():
            model = instantiate(cfg.model.detector).to("meta").eval()
        with counted(MACS) as count:
            features = model.backbone(torch.empty(1, 3, 256, 256, device="meta"))
            model.head([features[level] for level in model.head_in_features])
        parts = (model.backbone.bottom_up, model.backbone, model.head)
        backbone, *whole = (sum(p.numel() for p in part.parameters()) for part in parts)
        found[name] = count(), backbone, sum(whole)
    macs, backbones, wholes = zip(found["standard"], found["bh"], strict=True)
    assert macs[1] == pytest.approx(macs[0], rel=0.02)
    assert backbones[1] < 0.5 * backbones[0] and wholes[1] < wholes[0]


@pytest.mark.parametrize("name", NAMES)
def test_levels_are_p2_to_p6_and_nothing_is_frozen(name):
    with without_values():
        model = instantiate(config(name))
    shapes = model.backbone.output_shape()
    assert {level: shapes[level].stride for level in LEVELS} == dict(
        zip(LEVELS, (4, 8, 16, 32, 64), strict=True)
    )
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", ["faster_rcnn", "cascade_rcnn", "retinanet"])
def test_the_smallest_anchors_have_two_strides(name):
    cfg = config(name)
    anchors = instantiate(cfg.get("proposal_generator", cfg).anchor_generator)
    sides = [cells[:, 2:] - cells[:, :2] for cells in anchors.cell_anchors]
    smallest = [float(side.prod(dim=1).min()) ** 0.5 for side in sides]
    assert smallest == pytest.approx([8, 16, 32, 64, 128], rel=1e-4)


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        *((name, "bh_resnet50") for name in NAMES),
        ("faster_rcnn", "bh_hrnet18"),
        ("retinanet", "hrnet32"),
        ("fcos", "bh_small"),
    ],
)
def test_each_trains_and_detects(name, backbone):
    torch.manual_seed(0)
    cfg = config(name, backbone)
    narrow(cfg)
    cfg.get("roi_heads", cfg).num_classes = CLASSES
    model = instantiate(cfg).train()
    with EventStorage(0):
        losses = model(toy_images())
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert not [n for n, p in model.named_parameters() if p.grad is None]
    with torch.no_grad():
        found = model.eval()(toy_images())[0]["instances"]
    assert len(found.scores) <= 200


@pytest.mark.parametrize("backbone", ["bh_resnet50", "bh_hrnet18"])
def test_a_classifiers_backbone_loads_into_the_detector(backbone, tmp_path):
    torch.manual_seed(0)
    cfg = config("faster_rcnn", backbone)
    narrow(cfg)
    network = cfg.backbone.bottom_up
    if backbone == "bh_hrnet18":
        # Its pyramid's P2 joins all branches: each of them is trained, and so is the pyramid.
        network = cfg.backbone.copy()
        network.num_levels = 1
    trained = ImageClassifier(
        instantiate(network),
        5,
        pixel_mean=cfg.pixel_mean,
        pixel_std=cfg.pixel_std,
        feature="p2" if "num_levels" in network else "res5",
    )
    loss = trained.train()([{"image": torch.rand(3, 32, 32), "label": 1} for _ in range(2)])
    loss["loss_cls"].backward()
    assert not [n for n, p in trained.named_parameters() if p.requires_grad and p.grad is None]
    torch.save({"model": trained.state_dict(), "classes": list("abcde")}, tmp_path / "model.pth")
    detector = instantiate(cfg)
    report = load_weights(detector, str(tmp_path / "model.pth"))
    assert not report.unexpected and not report.misshapen
    assert not [name for name in report.missing if "bottom_up" in name]
    own = detector.backbone.bottom_up.state_dict()
    theirs = getattr(trained.backbone, "bottom_up", trained.backbone).state_dict()
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[name], theirs[name]) for name in own)
