"""Every shipped recipe builds, trains a step on toy pictures, and survives dump and reload."""

from lowres_d2.engine.recipe import load_recipe, shipped_recipes

import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

RECIPES = sorted(map(str, shipped_recipes()))
CLASSES = 3


def load_toy(name):
    cfg = load_recipe(name)
    detector = cfg.model.detector
    (detector if "num_classes" in detector else detector.roi_heads).num_classes = CLASSES
    return cfg


def toy_pictures():
    generator = torch.Generator().manual_seed(0)
    batch = []
    for height, width in ((96, 128), (101, 90)):
        target = Instances((height, width))
        target.gt_boxes = Boxes(torch.tensor([[10.0, 12.0, 60.0, 50.0], [40.0, 40.0, 70.0, 85.0]]))
        target.gt_classes = torch.tensor([0, CLASSES - 1])
        image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        batch.append({"image": image, "instances": target, "height": height, "width": width})
    return batch


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_recipe_takes_a_step_and_its_weights_survive_save_and_reload(name, tmp_path):
    cfg = load_toy(name)
    model = instantiate(cfg.model)
    cfg.optimizer.params.model = model
    optimizer = instantiate(cfg.optimizer)
    with EventStorage():
        losses = model(toy_pictures())
        sum(losses.values()).backward()
    optimizer.step()
    assert all(torch.isfinite(value) for value in losses.values())
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    again = instantiate(cfg.model)
    again.load_state_dict(torch.load(tmp_path / "weights.pth", weights_only=True))
    with torch.no_grad():
        a, b = (m.eval()(toy_pictures())[0]["instances"] for m in (model, again))
    assert torch.equal(a.pred_boxes.tensor, b.pred_boxes.tensor)
    assert torch.equal(a.scores, b.scores)


@pytest.mark.parametrize("name", RECIPES)
def test_dumped_recipe_reloads_to_the_same_model(name, tmp_path):
    cfg = load_toy(name)
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    again = LazyConfig.load(str(tmp_path / "config.yaml"))
    with torch.device("meta"):
        shapes = [
            {key: value.shape for key, value in instantiate(c.model).state_dict().items()}
            for c in (cfg, again)
        ]
    assert shapes[0] == shapes[1]
    assert again.train == cfg.train
