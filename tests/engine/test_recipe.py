import textwrap

from lowres_d2.engine.recipe import find_recipe, load_recipe, shipped_recipes
from lowres_d2.engine.recipe_diff import describe_recipe

import pytest

RECIPES = sorted(map(str, shipped_recipes()))

PIECE = """
    from detectron2.config import LazyCall as L
    from torch import nn

    model = L(nn.Linear)(in_features=2, out_features=3)
    train = dict(output_dir="", max_iter=10, seed=0)
    dataloader = dict(train=[1], test="${..train.max_iter}")
    optimizer = dict(lr=0.1)
    lr_multiplier = dict(value=1.0)
"""
RECIPE = """
    from .piece import dataloader, lr_multiplier, model, optimizer, train

    model.out_features = 5
    optimizer.momentum = 0.9
"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "piece.py").write_text(textwrap.dedent(PIECE))
    path = tmp_path / "linear_small.py"
    path.write_text(textwrap.dedent(RECIPE))
    return path


def test_recipes_are_found_by_path_and_below_configs():
    full = find_recipe("configs/quick/full_fcos_small_256_plates.py")
    assert full.samefile(find_recipe("quick/full_fcos_small_256_plates.py"))
    assert full.samefile(find_recipe(full.resolve()))


def test_missing_recipe_names_the_nearest():
    with pytest.raises(FileNotFoundError, match="full_fcos_small_256_plates"):
        find_recipe("configs/quick/full_fcos_smal_256_plates.py")


def test_output_folder_comes_from_the_file_name(recipe):
    assert load_recipe(recipe).train.output_dir == "output/linear_small"
    assert load_recipe(recipe, ["train.output_dir=here"]).train.output_dir == "here"


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ("model.out_feature = 5", KeyError, "model.out_feature: Linear takes no"),
        ("del train", ValueError, "defines no train"),
        ("raise TypeError('odd')", ValueError, "does not load: TypeError: odd"),
        ("from .absent import model", ValueError, "does not load"),
        ("x = (", ValueError, "does not load: SyntaxError"),
    ],
)
def test_broken_recipe_is_named_in_one_line(recipe, line, error, words):
    recipe.write_text(f"{recipe.read_text()}\n{line}\n")
    with pytest.raises(error) as caught:
        load_recipe(recipe)
    assert words in str(caught.value)


def test_difference_lists_what_the_recipe_and_the_command_line_change(recipe):
    cfg = load_recipe(recipe, ["train.max_iter=20"])
    lines = describe_recipe(recipe, cfg, color=False).splitlines()[1:]
    assert lines == [
        "~ dataloader.test: 10 -> 20",
        "~ model.out_features: 3 -> 5",
        "+ optimizer.momentum: 0.9",
        "~ train.max_iter: 10 -> 20",
        f"~ train.output_dir: '' -> 'output/{recipe.stem}'",
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipe_loads_and_every_call_takes_its_arguments(name):
    cfg = load_recipe(name)
    assert cfg.train.output_dir.endswith(name.rsplit("/", 1)[-1].removesuffix(".py"))
    assert cfg.train.max_iter > 0


def test_recipes_are_there():
    assert len(RECIPES) >= 20
