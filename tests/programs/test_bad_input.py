import copy
import json

from lowres_d2.programs.train import main

import pytest
import torch

from toys.one_line_errors import error_of

SIDE = "dataloader.train.mapper.augmentations.0.short_edge_length"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.max_itr=3", ["train.max_itr", "train.max_iter"]),
        ("train.max_iter=soon", ["train.max_iter", "an integer"]),
        (f"{SIDE}=abc", [f"{SIDE}=abc: expected an integer", f", as in {SIDE}=240"]),
        ("data.train_json=/nowhere/train.json", ["/nowhere/train.json"]),
        ("train.device=cuda:7", ["cuda:7", "cpu"]),
        ("train.init_checkpoint=/nowhere/w.pth", ["/nowhere/w.pth"]),
        ("+model.detector.head.colour=1", ["model.detector.head.colour", "FCOSHead"]),
        ("model.detector.num_classes=5", ["num_classes is 5", "2 classes", "red, green"]),
        ("model.resampler.factor=0", ["factor", "0"]),
        ("model.resampler.factor=-2", ["factor=-2", "3/2"]),
        ("model.resampler.factor=1/0", ["factor='1/0'", "3/2"]),
        ("model.resampler.factor=500", ["smaller than the factor 500", "use a smaller factor"]),
        ("train.clip_gradients.params.kind=norms", ["kind", "norms"]),
    ],
)
def test_wrong_value_is_named(toy_arguments, tmp_path, capsys, override, words):
    if override.startswith("model.resampler"):
        toy_arguments[1] = "configs/own_data/bicubic4_fcos_small_own.py"
    line = error_of([*toy_arguments, "train.clip_gradients.enabled=true", override], capsys)
    assert all(word in line for word in words), line
    assert not list(tmp_path.rglob("*.pth"))


def test_missing_recipe_is_named(toy_arguments, capsys):
    toy_arguments[1] = "configs/own_data/full_fcos_smal_own.py"
    assert "configs/own_data/full_fcos_small_own.py" in error_of(toy_arguments, capsys)


def test_no_recipe_at_all(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "--config-file" in capsys.readouterr().err


def test_evaluation_without_weights(toy_arguments, tmp_path, capsys):
    assert "train.init_checkpoint" in error_of(["--eval-only", *toy_arguments], capsys)
    assert not (tmp_path / "run").exists()


def test_weights_trained_on_other_classes(toy_arguments, coco_json, tmp_path, capsys):
    main(toy_arguments)
    data = json.loads(coco_json.read_text())
    data["categories"][0]["name"], data["categories"][1]["name"] = "green", "red"
    (tmp_path / "swapped.json").write_text(json.dumps(data))
    line = error_of(
        [
            "--eval-only",
            *toy_arguments,
            f"train.init_checkpoint={tmp_path / 'run' / 'model_final.pth'}",
            f"train.output_dir={tmp_path / 'again'}",
            f"data.val_json={tmp_path / 'swapped.json'}",
            f"data.val_images={coco_json.parent / 'images'}",
        ],
        capsys,
    )
    assert "model_final.pth" in line and "(red, green)" in line and "(green, red)" in line


def test_resuming_a_run_that_is_longer_than_asked_for(toy_arguments, tmp_path, capsys):
    main(toy_arguments)
    before = (tmp_path / "run" / "model_final.pth").read_bytes()
    line = error_of(["--resume", *toy_arguments, "train.max_iter=4"], capsys)
    assert "has done 6 iterations" in line and "train.max_iter is 4" in line
    assert (tmp_path / "run" / "model_final.pth").read_bytes() == before


def test_training_and_test_classes_differ(toy_arguments, coco_json, tmp_path, capsys):
    data = json.loads(coco_json.read_text())
    data["categories"][1]["name"] = "blue"
    (tmp_path / "val.json").write_text(json.dumps(data))
    images = f"data.val_images={coco_json.parent / 'images'}"
    line = error_of([*toy_arguments, f"data.val_json={tmp_path / 'val.json'}", images], capsys)
    assert "green" in line and "blue" in line


def test_weights_that_match_no_parameter(toy_arguments, tmp_path, capsys):
    torch.save({"model": {"something.else": torch.zeros(3)}}, tmp_path / "w.pth")
    line = error_of([*toy_arguments, f"train.init_checkpoint={tmp_path / 'w.pth'}"], capsys)
    assert "w.pth" in line and "another model" in line


def ruin_ids(data):
    data["annotations"][0]["image_id"] = 99


def ruin_category(data):
    data["annotations"][0]["category_id"] = 77


def ruin_box(data):
    data["annotations"][0]["bbox"] = [500, 500, 10, 10]


def ruin_area(data):
    data["annotations"][0]["bbox"][2] = 0


def ruin_file_name(data):
    data["images"][0]["file_name"] = "gone.png"


@pytest.mark.parametrize(
    ("ruin", "words"),
    [
        (ruin_ids, "99"),
        (ruin_category, "77"),
        (ruin_box, "annotation 1"),
        (ruin_area, "annotation 1"),
        (ruin_file_name, "gone.png"),
    ],
)
def test_broken_annotations_are_named(toy_arguments, coco_json, tmp_path, capsys, ruin, words):
    data = copy.deepcopy(json.loads(coco_json.read_text()))
    ruin(data)
    path = tmp_path / "ruined.json"
    path.write_text(json.dumps(data))
    images = f"data.train_images={coco_json.parent / 'images'}"
    line = error_of([*toy_arguments, f"data.train_json={path}", images], capsys)
    assert "ruined.json" in line or words == "gone.png"
    assert words in line, line


def test_broken_image_is_named(toy_arguments, coco_json, tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    for path in (coco_json.parent / "images").iterdir():
        (folder / path.name).write_bytes(path.read_bytes()[:60])
    line = error_of([*toy_arguments, f"data.train_images={folder}"], capsys)
    assert ".png" in line and str(folder) in line
