"""Ignore regions are never passed to a model that would take them for background."""

from lowres_d2.engine.build import build_model, check_ignore_regions
from lowres_d2.modeling import LowResDetector
from lowres_d2.recipes.load import load_recipe

import pytest

from toys.runs import PLAIN


def recipe(coco_json, *changes):
    data = [f"data.{split}_json={coco_json}" for split in ("train", "val")]
    return load_recipe(PLAIN, [*data, "train.device=cpu", *changes])


@pytest.mark.parametrize("crowds", ["background", "blank", "region_mean", "ignore"])
def test_a_composition_takes_all_kinds(coco_json, crowds):
    cfg = recipe(coco_json, f"dataloader.train.mapper.crowds={crowds}")
    model = build_model(cfg)
    check_ignore_regions(cfg, model)
    assert isinstance(model, LowResDetector)


def test_a_bare_detector_takes_no_notice_and_is_refused(coco_json):
    cfg = recipe(coco_json, "dataloader.train.mapper.crowds=ignore")
    cfg.model = cfg.model.detector
    with pytest.raises(
        ValueError, match=r"crowds=ignore: a NearestPointFCOS takes no notice of ignore"
    ):
        check_ignore_regions(cfg, build_model(cfg))
    cfg.dataloader.train.mapper.crowds = "blank"
    check_ignore_regions(cfg, build_model(cfg))
