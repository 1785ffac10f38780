from __future__ import annotations

import shutil

from lowres_d2.data.folders import count_own_classes
from lowres_d2.engine.identity import recipe_of
from lowres_d2.programs import analyze, demo, train
from lowres_d2.programs.extract import extract_detector
from lowres_d2.recipes.load import load_recipe
from lowres_d2.recipes.standalone import standalone

import pytest
from detectron2.config import LazyCall as L
from omegaconf import OmegaConf
from torch import nn

from toys.data import CLASSES
from toys.runs import PLAIN


def twice(of: int) -> int:
    return 2 * of


def of_no_kind(of):
    return 2 * of


def make(classes=None):
    return OmegaConf.create(
        {
            "data": {"classes": classes},
            "model": L(nn.Sequential)(
                a=L(twice)(of="${..b.of}"),
                b=L(of_no_kind)(of=3),
                layers=[
                    L(nn.Linear)(in_features=L(twice)(of=L(twice)(of=1)), out_features="${model.a}")
                ],
            ),
            "dataloader": {
                "train": {"dataset": L(nn.Module)(classes="${data.classes}")},
                "test": {"dataset": L(nn.Module)(classes="${...train.dataset.classes}")},
            },
        },
        flags={"allow_objects": True},
    )


def test_calls_that_compute_a_number_are_replaced_by_it():
    cfg = make()
    made = standalone(cfg)
    assert made.model.a == 6 and made.model.layers[0].in_features == 4
    assert made.model.b._target_ is of_no_kind  # what it gives is not known before it is built
    assert made.model.layers[0]._target_ is nn.Linear
    assert cfg.model.a._target_ is twice  # the recipe itself is unchanged


def test_a_call_that_rejects_its_arguments_is_named():
    cfg = make()
    cfg.model.layers[0].in_features.off = 3
    with pytest.raises(ValueError, match=r"model.layers\[0\].in_features cannot be built: .*off"):
        standalone(cfg)


def test_classes_are_written_where_they_were_null_and_kept_where_not():
    made = standalone(make(), ["nut", "bolt"])
    assert made.data.classes == ["nut", "bolt"] == made.dataloader.test.dataset.classes
    assert OmegaConf.to_container(made)["dataloader"]["train"]["dataset"]["classes"] == (
        "${data.classes}"
    )
    assert standalone(make(["nut"]), ["nut", "bolt"]).data.classes == ["nut"]
    assert standalone(make()).data.classes is None


def test_a_recipe_counts_its_classes_once(coco_json):
    cfg = load_recipe(PLAIN, [f"data.train_json={coco_json}"])
    assert cfg.model.detector.num_classes._target_ is count_own_classes
    assert standalone(cfg).model.detector.num_classes == len(CLASSES)


@pytest.fixture(scope="module")
def carried(trained, tmp_path_factory):
    """The pair of files that is passed on, as if trained elsewhere: there is no train.json."""
    folder = tmp_path_factory.mktemp("carried")
    text = (trained.folder / "config.yaml").read_text()
    cfg = load_recipe(trained.folder / "config.yaml")
    (folder / "config.yaml").write_text(text.replace(cfg.data.train_json, "/elsewhere/train.json"))
    shutil.copy(trained.folder / "model_final.pth", folder)
    assert not cfg.data.train_json.startswith("/elsewhere")
    return ["--config-file", str(folder / "config.yaml")], str(folder / "model_final.pth")


def test_carried_weights_are_evaluated_on_other_data(carried, coco_json, tmp_path, capsys):
    flags, weights = carried
    opts = [f"train.init_checkpoint={weights}", f"data.val_json={coco_json}"]
    train.main([*flags, "--eval-only", *opts, f"train.output_dir={tmp_path}"])
    assert (tmp_path / "evaluation.json").is_file()


def test_carried_weights_detect_and_are_analyzed_without_data(carried, coco_json, tmp_path, capsys):
    flags, weights = carried
    image = next((coco_json.parent / "images").glob("*.png"))
    found = ["--input", str(image), "--output", str(tmp_path)]
    demo.main([*flags, "--weights", weights, *found])
    assert (tmp_path / "detections.json").is_file()
    analyze.main([*flags, "--weights", weights, "--size", "64", "64"])
    assert "full resolution" in capsys.readouterr().out
    missing = "data.val_json=/elsewhere/val.json"
    size = "dataloader.test.mapper.augmentations.0.short_edge_length=96"
    analyze.main([*flags, "--weights", weights, missing, size])
    said = capsys.readouterr()
    assert "480x640 as the test images are resized, 96x128" in said.out
    assert "/elsewhere/val.json: no such annotation file" in said.err
    with pytest.raises(SystemExit):  # asked for
        analyze.main([*flags, "--weights", weights, "--images", "2", missing])
    assert "--size H W needs no data" in capsys.readouterr().err


def test_classes_of_weights_are_counted_where_the_recipes_file_is_missing(trained, tmp_path):
    extract_detector(trained.file, tmp_path / "plain.pth")
    cfg, _ = recipe_of(PLAIN, tmp_path / "plain.pth", ["data.train_json=/elsewhere/train.json"])
    assert cfg.model.detector.num_classes == len(CLASSES)
    there = [f"data.train_json={trained.data.json_file}"]
    cfg, _ = recipe_of(PLAIN, tmp_path / "plain.pth", there)  # which may have others
    assert cfg.model.detector.num_classes._target_ is count_own_classes
