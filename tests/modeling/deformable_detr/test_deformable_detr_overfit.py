"""The small Deformable DETR overfits eight generated images."""

import lowres_d2  # noqa: F401
from lowres_d2.data.mapper import DetectionMapper
from lowres_d2.data.plates import PlatesDataset
from lowres_d2.evaluation import SizedCOCOEvaluator
from lowres_d2.recipes.find import PACKAGE

import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.data import transforms as T

ITERATIONS = 100


def small_detector():
    path = PACKAGE.parent / "configs/common/models/deformable_detr_small.py"
    cfg = LazyConfig.load(str(path)).model
    cfg.num_queries = 30
    cfg.with_box_refine = True
    cfg.dropout = 0.0
    return instantiate(cfg)


@pytest.mark.slow
def test_eight_images_are_overfitted(tmp_path):
    torch.manual_seed(0)
    images = PlatesDataset(tmp_path, num_images=8, size_range=(24, 96), num_workers=0)
    half_size = [T.Resize((128, 128))]
    batch = [DetectionMapper(True, half_size, "RGB")(record) for record in images]
    model = small_detector().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    curve = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, ITERATIONS, pct_start=0.1)
    for _ in range(ITERATIONS):
        optimizer.zero_grad()
        sum(model(batch).values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        curve.step()
    seen = [DetectionMapper(False, half_size, "RGB")(record) for record in images]
    evaluator = SizedCOCOEvaluator(images)
    with torch.no_grad():
        evaluator.process(seen, model.eval()(seen))
    assert evaluator.evaluate()["bbox"]["AP50"] > 90
