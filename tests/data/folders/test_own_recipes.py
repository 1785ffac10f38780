"""Recipes for own data, and the validation, take a folder."""

from pathlib import Path

from lowres_d2.data.validation import Findings
from lowres_d2.programs.analyze import main as analyze
from lowres_d2.programs.train import main as train
from lowres_d2.programs.validate import main
from lowres_d2.programs.validate_recipe import recipe_splits
from lowres_d2.recipes.load import build, load_recipe
from lowres_d2.recipes.standalone import computed

import pytest
from detectron2.config import instantiate

RECIPES = sorted(
    path.stem
    for path in Path("configs/own_data").glob("*.py")
    if "resnet18" not in path.stem  # they classify: their folder has one for each class
)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_needs_the_folder_alone(folder, name):
    folder.yolo()
    cfg = load_recipe(f"configs/own_data/{name}.py", [f"data.path={folder.root}", "data.cache=''"])
    counts = {
        holder[key]._target_.__name__: instantiate(holder[key])
        for holder, key in computed(cfg.model)
    }
    assert counts == {"count_own_classes": 2}
    if "small" in name:
        model = build(cfg, "model")
        heads = [m for m in model.modules() if isinstance(getattr(m, "num_classes", None), int)]
        assert heads and {head.num_classes for head in heads} == {2}
    train, test = (instantiate(cfg.dataloader[part].dataset) for part in ("train", "test"))
    assert (len(train), len(test), train.classes) == (2, 1, ["cat", "dog"])


BOXES = "data: no data set is given: data.path=FOLDER, or data.train_json=FILE data.val_json=FILE"


@pytest.mark.parametrize("program", [train, analyze])
@pytest.mark.parametrize(
    ("name", "line"), [("full_fcos_small_own", BOXES), ("full_resnet18_32_own", "data: give data.")]
)
def test_forgotten_data_is_said_by_its_keys(program, name, line, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        opts = [] if program is analyze else [f"train.output_dir={tmp_path}"]
        program(["--config-file", f"configs/own_data/{name}.py", *opts])
    assert caught.value.code == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith(f"error: {line}")


def test_costs_need_no_data_where_classes_are_given(capsys):
    recipe = "configs/own_data/full_fcos_small_own.py"
    analyze(["--config-file", recipe, "model.detector.num_classes=3"])
    said = capsys.readouterr()
    assert said.err.strip() == f"{BOXES}: measured on noise; --size H W sets its size"
    assert "MACs" in said.out


def validate(folder, capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["--path", str(folder.root), *arguments])
        raise SystemExit(0)
    return stopped.value.code, capsys.readouterr()


def test_a_sound_folder_is_described_in_a_line(folder, capsys):
    folder.yolo()
    code, said = validate(folder, capsys, "--no-images")
    assert code == 0
    assert said.out.splitlines()[0] == (
        f"{folder.root}: YOLO (data.yaml): train 2 images, 2 objects; val 1 images, 1 objects; "
        "2 classes; splits train, val"
    )
    assert "file-outside" not in said.out


def test_all_faults_of_label_files_are_found(folder, capsys):
    folder.yolo("train: images/train\nval: images/val\ntest: images/test\nnames: [cat, dog]")
    folder.text("labels/train/b.txt", "0 0.5 0.5 0.1\n7 0.5 0.5 0.1 0.1\n0 0.5 1.5 0.1 0.1\n")
    folder.text("images/val/c.png", "no image")
    code, said = validate(folder, capsys, "--no-images")
    assert code == 1 and "test is not there" in said.out
    for fault in (
        "b.txt: line 1: '0 0.5 0.5 0.1' has 4 numbers",
        "b.txt: line 2: class 7 is none of the 2 classes, 0 to 1",
        "b.txt: line 3: '0 0.5 1.5 0.1 0.1': 1.5 is no fraction of the image",
        "c.png: is not an image that can be read",
        "test: no such folder or file of images: images/test",
    ):
        assert fault in said.out


def test_a_folder_that_is_none_ends_in_a_line(folder, capsys):
    folder.text("notes.md", "")
    code, said = validate(folder, capsys)
    (line,) = said.err.splitlines()
    assert code == 1 and line.startswith(f"error: {folder.root}: no data set was recognised")


def test_a_recipe_of_a_folder_is_validated_split_by_split(folder):
    folder.image("train/a.png", "valid/b.png")
    folder.xml("train/a.xml", ("cat", 1, 1, 10, 20))
    folder.xml("valid/b.xml", ("cat", 1, 1, 0, 20))
    findings = Findings()
    recipe = "configs/own_data/full_fcos_small_own.py"
    train, val = recipe_splits(load_recipe(recipe, [f"data.path={folder.root}"]), findings)
    assert (train.class_list, len(train.objects), len(val.objects)) == (["cat"], 1, 0)
    assert train.path(train.images[0]) == folder.root / "train/a.png"
    given = [f"data.path={folder.root}", f"data.train_json={folder.root}/train.json"]
    (only,) = recipe_splits(load_recipe(recipe, given), findings)
    assert only.name == "test"
    assert "are both given" in str(next(iter(findings)).suspects[0])
