"""Generator, small and large predictor overfit eight generated images, all at once."""

import lowres_d2  # noqa: F401
from lowres_d2.data.mapper import DetectionMapper
from lowres_d2.data.plates import PlatesDataset
from lowres_d2.evaluation import SizedCOCOEvaluator
from lowres_d2.recipes.load import load_recipe

import pytest
import torch
from detectron2.config import instantiate
from detectron2.data import transforms as T
from detectron2.utils.events import EventStorage

ITERATIONS = 150
RECIPE = "projects/FeatureSR/configs/quick/feature_sr_faster_rcnn_small_256_plates.py"


@pytest.mark.slow
def test_eight_images_are_overfitted(tmp_path):
    torch.manual_seed(0)
    images = PlatesDataset(tmp_path, num_images=8, size_range=(30, 72), num_workers=0)
    smaller = [T.Resize((128, 128))]  # sizes on both sides of the threshold, 24 px
    batch = [DetectionMapper(True, smaller, "RGB")(record) for record in images]
    cfg = load_recipe(RECIPE)
    cfg.model.detector.roi_heads.batch_size_per_image = 16
    model = instantiate(cfg.model).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    curve = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, ITERATIONS, pct_start=0.1)
    small = 0
    for iteration in range(ITERATIONS):
        optimizer.zero_grad()
        with EventStorage(iteration):
            losses = model(batch)
        small += "loss_cls_small" in losses
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        curve.step()
    assert 0 < small < ITERATIONS  # the others trained the discriminator
    seen = [DetectionMapper(False, smaller, "RGB")(record) for record in images]
    size_ranges = {"small": (0, 48), "large": (48, None)}  # 24 px in the detector's image
    evaluator = SizedCOCOEvaluator(images, size_ranges=size_ranges)
    with torch.no_grad():
        evaluator.process(seen, model.eval()(seen))
    found = evaluator.evaluate()["bbox"]
    assert found["GT-small"] > 5 and found["GT-large"] > 5
    assert found["AP50-small"] > 90 and found["AP50"] > 90
