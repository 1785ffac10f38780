"""docs/extending.md does what it says, in a folder outside of this project."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from lowres_d2.programs import demo, train
from lowres_d2.recipes.diff import describe_recipe
from lowres_d2.recipes.find import ROOTS
from lowres_d2.recipes.load import load_recipe
from lowres_d2.saved_configs import RefusedConfigError

import pytest
import torch

from toys.runs import run_overrides

PAGE = (ROOTS[-1] / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of the page."""
    folder = tmp_path_factory.mktemp("own")
    for name, text in BLOCKS:
        (folder / name).write_text(text)
    yield folder
    sys.path[:] = [path for path in sys.path if path != str(folder)]
    sys.modules.pop("my_parts", None)


@pytest.fixture(scope="module")
def run(folder, coco_json, tmp_path_factory):
    """The folder of its run, started from elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        recipe = str(folder / "my_recipe.py")
        train.main(["--config-file", recipe, *run_overrides(coco_json, 2, 1)])
        return Path("output/my_recipe").resolve()


def test_the_page_has_the_files_that_it_speaks_of():
    assert [name for name, _ in BLOCKS] == ["my_parts.py", "my_recipe.py"]
    for target in re.findall(r"\]\(\.\./([^)]+)\)", PAGE):
        assert (ROOTS[-1] / target).exists(), target


def test_the_run_has_its_own_folder_loss_and_parameters(run):
    weights = torch.load(run / "model_final.pth", weights_only=True)["model"]
    assert weights["resampler.gain"].shape == (3,)
    assert not torch.equal(weights["resampler.gain"], torch.ones(3))
    assert "loss_contrast_std" in (run / "metrics.json").read_text()


def test_overrides_reach_its_parts_and_references_its_own_values(folder):
    cfg = load_recipe(folder / "my_recipe.py", ["model.resampler.factor=4", "train.seed=7"])
    assert cfg.model.resampler.factor == 4 and cfg.dataloader.train.seed == 7
    assert "base" not in cfg
    with pytest.raises(KeyError, match="AveragedPixels takes no 'gain'"):
        load_recipe(folder / "my_recipe.py", ["+model.resampler.gain=2"])


def test_only_its_changes_are_listed(folder):
    path = folder / "my_recipe.py"
    lines = describe_recipe(path, load_recipe(path), color=False).splitlines()[1:]
    assert {line.split()[1].rstrip(":") for line in lines} == {
        "dataloader.evaluator.output_dir",
        "model.loss_weights.contrast/*",
        "model.objectives[0]._target_",
        "model.resampler._target_",
        "model.resampler.factor",
        "train.max_iter",
        "train.output_dir",
    }


def test_its_saved_recipe_is_read_where_its_module_is_trusted(
    run, coco_json, monkeypatch, tmp_path
):
    config = run / "config.yaml"
    with pytest.raises(RefusedConfigError, match=r"_target_: my_parts.*LOWRES_D2_TRUST=my_parts"):
        load_recipe(config)
    monkeypatch.setenv("LOWRES_D2_TRUST", "my_parts")
    image = next((coco_json.parent / "images").glob("*.png"))
    flags = ["--config-file", str(config), "--weights", str(run / "model_final.pth")]
    demo.main([*flags, "--input", str(image), "--output", str(tmp_path / "found")])
    assert (tmp_path / "found" / "detections.json").is_file()


def test_a_recipe_that_loads_a_saved_one_has_a_folder_of_its_own(folder, run, monkeypatch):
    monkeypatch.setenv("LOWRES_D2_TRUST", "my_parts")
    text = f"""
from lowres_d2.recipes.load import load_recipe
base = load_recipe({str(run / "config.yaml")!r}, ["train.max_iter=5"])
model, data, dataloader = base.model, base.data, base.dataloader
optimizer, lr_multiplier, train = base.optimizer, base.lr_multiplier, base.train
"""
    (folder / "further.py").write_text(text)
    cfg = load_recipe(folder / "further.py")
    assert cfg.train.output_dir == "output/further" and cfg.train.max_iter == 5
    assert cfg.dataloader.evaluator.output_dir == "output/further"
    assert load_recipe(run / "config.yaml").train.output_dir == str(run)


def test_a_module_beside_a_recipe_replaces_none_that_is_installed(folder):
    load_recipe(folder / "my_recipe.py")
    assert sys.path[-1] == str(folder) or sys.path.index(str(folder)) > 0
    (folder / "json.py").write_text("raise RuntimeError")
    (folder / "json_reader.py").write_text(
        (folder / "my_recipe.py").read_text() + "\nimport json\n"
    )
    assert load_recipe(folder / "json_reader.py").train.output_dir == "output/json_reader"


def test_the_code_of_the_page_is_formatted_as_ours():
    for _, text in BLOCKS:
        assert ast.parse(text)
        assert max(map(len, text.splitlines())) <= 100
