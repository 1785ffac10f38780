"""What the TinyPerson recipes of BottomHeavy take from TOV_mmdetection, the paper's base."""

from pathlib import Path

from lowres_d2.modeling.meta_arch import RangedFCOS

import pytest
from detectron2.config import instantiate
from torch import nn

from toys.narrow import load_shipped

FOLDER = Path("projects/BottomHeavy/configs/tinyperson")
NAMES = sorted(path.name for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_all_are_trained_on_as_many_images(name):
    cfg = load_shipped(str(FOLDER / name))
    images = cfg.dataloader.train.total_batch_size
    assert images * cfg.train.max_iter == 12 * 6000
    assert images * cfg.train.eval_period == 6000
    assert images == (4 if "_fcos_" in name else 2)


@pytest.mark.parametrize("twin", ["bh", "standard"])
def test_fcos_is_adapted_as_tov_mmdetection_has_it(twin):
    cfg = load_shipped(str(FOLDER / f"{twin}_fcos_r50_640_tinyperson.py"))
    detector = cfg.model.detector
    assert detector._target_ is RangedFCOS
    assert detector.farthest_sides == [16, 32, 64, 128]
    assert (detector.test_topk_candidates, detector.test_nms_thresh) == (2000, 0.6)
    assert detector.head.norm == "" and detector.test_score_thresh == 0.05
    assert cfg.optimizer.lr == 0.01
    assert cfg.train.clip_gradients == {"enabled": True, "params": {"kind": "norm", "limit": 35.0}}
    head = nn.ModuleDict({"cls_score": nn.Conv2d(2, 1, 3), "norm": nn.GroupNorm(1, 2)})
    cfg.optimizer.params.model = head
    groups = instantiate(cfg.optimizer).param_groups
    given = {p: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert {name: given[p] for name, p in head.named_parameters()} == {
        "cls_score.weight": (0.01, 0.0001),
        "cls_score.bias": (0.02, 0.0),
        "norm.weight": (0.01, 0.0),
        "norm.bias": (0.02, 0.0),
    }
    cfg.optimizer.lr = 0.04
    assert {group["lr"] for group in instantiate(cfg.optimizer).param_groups} == {0.04, 0.08}


@pytest.mark.parametrize("name", [name for name in NAMES if "hrnet" in name])
def test_hrnets_are_fine_tuned_with_frozen_statistics(name):
    bottom_up = load_shipped(str(FOLDER / name)).model.detector.backbone.bottom_up
    assert bottom_up.norm == "FrozenBN" and bottom_up.get("freeze_at", 0) == 0
