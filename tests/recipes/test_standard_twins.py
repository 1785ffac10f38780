"""The overrides that BottomHeavy's README gives for the standard twins without a recipe."""

import re
from pathlib import Path

from lowres_d2.modeling.tiles import untiled
from lowres_d2.modeling.torchvision_keys import resnet_names
from lowres_d2.modeling.without_values import without_values
from lowres_d2.recipes.load import build, load_recipe

import pytest
from torchvision.models import resnet50

PROJECT = Path("projects/BottomHeavy")
STARTS = "detectron2://ImageNetPretrained/torchvision/R-50.pkl"


@pytest.mark.parametrize("name", ["cascade_rcnn", "retinanet"])
def test_the_overrides_make_a_resnet50_and_name_its_weights(name):
    (row,) = re.findall(
        r"\| the standard twin in .*? \| `(.*)` \|", (PROJECT / "README.md").read_text()
    )
    recipe = PROJECT / f"configs/tinyperson/bh_{name}_r50_640_tinyperson.py"
    cfg = load_recipe(recipe, row.split())
    assert cfg.train.init_checkpoint == STARTS
    with without_values():
        names, model = resnet50().state_dict(), untiled(build(cfg, "model"))
    placed = resnet_names(names, model)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    assert len(placed) == 5 * 53  # convolutions, each with the four tensors of its norm
    assert all(shapes[new] == names[old].shape for old, new in placed.items())
    layers = [n for n in shapes if ".bottom_up." in n and not n.endswith("num_batches_tracked")]
    assert {*layers} == {*placed.values()}
