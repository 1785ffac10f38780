"""Recipes of several folders, each with modules of its own by equal names."""

from __future__ import annotations

import importlib
import sys

from lowres_d2.recipes import nesting
from lowres_d2.recipes.load import load_recipe

import pytest

RECIPE = """
from lowres_d2.recipes.load import load_recipe
base = load_recipe({base!r})
from settings_of_mine import SEED
from parts_of_mine.deep import STEPS
model, dataloader, optimizer = base.model, base.dataloader, base.optimizer
lr_multiplier, train = base.lr_multiplier, base.train
train.seed, train.max_iter = SEED, STEPS
"""
PLATES = "configs/quick/full_fcos_small_256_plates.py"


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """Nothing of a test's folders stays."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(nesting, "_FOLDERS", {})
    monkeypatch.setattr(nesting, "_INSTALLED", set())
    loaded = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(loaded):
        if name.partition(".")[0].endswith("_of_mine"):
            del sys.modules[name]


def make(folder, number, base=PLATES):
    (folder / "parts_of_mine").mkdir(parents=True)
    (folder / "settings_of_mine.py").write_text(f"SEED = {number}\nclass Part: number = {number}\n")
    (folder / "parts_of_mine" / "__init__.py").touch()
    (folder / "parts_of_mine" / "deep.py").write_text(f"STEPS = {10 * number}\n")
    (folder / f"only{number}_of_mine.py").touch()
    (folder / "r.py").write_text(RECIPE.format(base=str(base)))
    return folder / "r.py"


def values(recipe):
    train = load_recipe(recipe).train
    return train.seed, train.max_iter


def test_each_recipe_has_the_modules_beside_it(tmp_path):
    one, two = make(tmp_path / "a", 1), make(tmp_path / "b", 2)
    assert [values(path) for path in (one, two, one)] == [(1, 10), (2, 20), (1, 10)]


def test_a_recipe_that_loads_one_of_another_folder_keeps_its_own(tmp_path):
    two = make(tmp_path / "b", 2)
    one = make(tmp_path / "a", 1, base=two)
    assert values(one) == (1, 10) and values(two) == (2, 20) and values(one) == (1, 10)


def test_modules_are_loaded_once_and_found_after_reading(tmp_path):
    one, two = make(tmp_path / "a", 1), make(tmp_path / "b", 2)
    load_recipe(one)
    part = importlib.import_module("settings_of_mine").Part
    load_recipe(two)
    assert importlib.import_module("settings_of_mine").SEED == 2
    # Another recipe's module of a name that this one has not: for parts named by text.
    assert importlib.import_module("only1_of_mine").__file__.startswith(str(one.parent))
    load_recipe(one)
    assert importlib.import_module("settings_of_mine").Part is part
    assert sys.path[-1] != str(one.parent) and str(one.parent) in sys.path


def test_a_module_that_only_another_folder_has_is_not_there(tmp_path):
    one, two = make(tmp_path / "a", 1), make(tmp_path / "b", 2)
    load_recipe(one)
    importlib.import_module("only1_of_mine")
    two.write_text("import only1_of_mine\n" + two.read_text())
    with pytest.raises(ValueError, match=r"r\.py does not load: .*No module named 'only1_of_mine'"):
        load_recipe(two)
    assert values(one) == (1, 10)


def test_a_recipe_beside_an_installed_package_leaves_it_alone(tmp_path, monkeypatch):
    one, two = make(tmp_path / "a", 1), make(tmp_path / "b", 2)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(one.parent))
        installed = importlib.import_module("settings_of_mine")
    for path in (one, two):
        assert values(path)[0] == 1  # what is installed counts
        assert sys.modules["settings_of_mine"] is installed


def test_modules_inside_packages_are_not_looked_up_one_by_one(tmp_path, monkeypatch):
    # A process may have loaded thousands, and a quick recipe loads several others.
    asked, home = [], nesting._home
    monkeypatch.setattr(nesting, "_home", lambda name: asked.append(name) or home(name))
    load_recipe(make(tmp_path / "a", 1))
    assert "torch" in asked and not any("." in name for name in asked)
