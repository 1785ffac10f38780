"""Paths of a saved config, used from another working directory."""

import os

from lowres_d2.engine.identity import recipe_text
from lowres_d2.recipes.load import build, load_recipe
from lowres_d2.recipes.places import places

import pytest

from toys.data import write_coco
from toys.runs import PLAIN

DATA = ("data.train_json={0}", "data.val_json={0}")


@pytest.fixture
def moved(tmp_path, monkeypatch):
    """A run's config.yaml, elsewhere than the project whose data it names; and these."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
    data = write_coco(project)
    named = data.relative_to(project)
    (project / "start.pth").touch()
    opts = [text.format(named) for text in DATA]
    cfg = load_recipe(PLAIN, [*opts, "train.init_checkpoint=start.pth"])
    cfg.train.started_in = str(project)
    (elsewhere / "config.yaml").write_text(recipe_text(cfg))
    monkeypatch.chdir(elsewhere)
    return data, named


def test_places_are_under_the_keys_that_hold_them(monkeypatch):
    cfg = load_recipe(PLAIN, ["data.path=a", "data.val_images=b", "train.init_checkpoint=c.pth"])
    found = dict(places(cfg.dataloader)) | dict(places(cfg.model)) | dict(places(cfg.train))
    assert found == {"data.path": "a", "data.val_images": "b", "train.init_checkpoint": "c.pth"}
    monkeypatch.setenv("DETECTRON2_DATASETS", "sets")
    cfg = load_recipe("configs/coco/full_fcos_r50_800_coco_1x.py")
    train = "dataloader.train.dataset.json_file"
    assert dict(places(cfg.dataloader))[train].startswith("sets/coco/annotations/")


def test_relative_paths_are_found_from_another_folder(moved):
    data, _ = moved
    cfg = load_recipe("config.yaml")
    assert cfg.data.val_json == cfg.data.train_json == str(data)
    assert cfg.train.init_checkpoint == str(data.parents[len(moved[1].parts) - 1] / "start.pth")
    assert len(build(cfg, "dataloader.test.dataset")) == 6
    # What is given, or is here, is meant.
    assert load_recipe("config.yaml", ["data.val_json=b.json"]).data.val_json == "b.json"
    moved[1].parent.mkdir(parents=True, exist_ok=True)
    moved[1].touch()
    assert load_recipe("config.yaml").data.val_json == str(moved[1])


def test_missing_data_is_said_by_its_key(moved, tmp_path):
    data, named = moved
    data.unlink()
    cfg = load_recipe("config.yaml")
    assert cfg.data.val_json == str(named)
    with pytest.raises(FileNotFoundError) as caught:
        build(cfg, "dataloader.test.dataset")
    said = str(caught.value)
    assert said.startswith(f"{named}: no such annotation file; ")
    here = tmp_path / "elsewhere"
    assert said.endswith(f"; set data.val_json=... (relative to the folder you run in: {here})")
    cfg = load_recipe("config.yaml", ["data.val_json=/nowhere/a.json"])
    with pytest.raises(FileNotFoundError, match=r"; set data\.val_json=\.\.\.$"):
        build(cfg, "dataloader.test.dataset")


def test_a_run_says_where_it_was_started(trained):
    text = (trained.folder / "config.yaml").read_text()
    assert f"  started_in: {os.getcwd()}\n" in text
    assert "started_in" not in load_recipe(trained.folder / "config.yaml").train
