"""A detector starts with the backbone of a classifier's run."""

import logging

from lowres_d2.engine.startup.pixels import other_pixels_warning
from lowres_d2.modeling.weights import LoadReport
from lowres_d2.programs.train import main as train

import pytest
import torch
from omegaconf import OmegaConf

from toys.labelled import write_cifar
from toys.one_line_errors import error_of
from toys.runs import PLAIN, run_overrides

CLASSIFIER = "configs/classification/full_small_32_cifar10.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of a classifier's run."""
    folder = tmp_path_factory.mktemp("classifier")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(write_cifar(tmp_path_factory.mktemp("data"))))
        short = ["train.max_iter=2", "train.eval_period=0", "dataloader.train.total_batch_size=20"]
        own = [f"train.output_dir={folder}", "train.device=cpu"]
        train(["--config-file", CLASSIFIER, *short, *own])
    return folder


def detector(coco_json, folder, trained, *more):
    return [
        "--config-file",
        PLAIN,
        *run_overrides(coco_json, iterations=1, log_period=1),
        f"train.output_dir={folder}",
        f"train.init_checkpoint={trained}",
        "optimizer.lr=0",
        *more,
    ]


def weights(folder):
    return torch.load(folder / "model_final.pth", weights_only=True)["model"]


def test_a_run_starts_with_the_backbone_and_says_what_it_took(coco_json, trained, tmp_path, caplog):
    caplog.set_level(logging.INFO, "lowres_d2")
    train(detector(coco_json, tmp_path / "run", trained))
    (line,) = [line for line in caplog.text.splitlines() if " weights    model: " in line]
    assert f"tensors loaded from {trained}/model_final.pth (after 2 iterations, sha256 " in line
    assert "; left out beside a classifier's backbone: 2; left as initialized: " in line
    assert "backbone.fpn_lateral2 2, " in line
    assert "UNUSED" not in line
    assert "other classes" not in caplog.text and "other pixels" not in caplog.text
    ours, theirs = weights(tmp_path / "run"), weights(trained)
    taken = [name for name in theirs if name.endswith(".weight") and "backbone." in name]
    for name in taken:
        assert torch.equal(ours[name.replace("backbone.", "backbone.bottom_up.")], theirs[name])
    assert len(taken) > 10


def test_another_normalisation_is_warned_of(coco_json, trained, tmp_path, caplog):
    other = ["model.detector.pixel_std=[1,1,1]", "dataloader.train.mapper.image_format=BGR"]
    train(detector(coco_json, tmp_path / "run", trained, *other))
    (warning,) = [r.getMessage() for r in caplog.records if "other pixels" in r.getMessage()]
    assert f"{trained}/model_final.pth was trained with pixel_std [64.0, 64.0, 64.0]" in warning
    assert "the model has [1.0, 1.0, 1.0]; image_format RGB, the model has BGR" in warning
    assert "pixel_mean" not in warning


@pytest.mark.parametrize(
    "recipe", ["", "a: [", "model: {pixel_mean: '${nowhere}'}", "model: {pixel_mean: [1]}", "[1]"]
)
def test_files_that_do_not_say_their_pixels_are_not_warned_of(recipe):
    cfg = OmegaConf.create({"model": {"pixel_mean": [1, 2, 3], "pixel_std": [1, 1, 1]}})
    assert other_pixels_warning(cfg, LoadReport("w.pth", 1, recipe=recipe)) == ""


def test_a_classifier_of_another_backbone_is_an_error_of_one_line(
    coco_json, trained, tmp_path, capsys
):
    narrow = "+model.detector.backbone.bottom_up.channels=[8,12,16,20,24]"
    error = error_of(
        ["--allow-partial", *detector(coco_json, tmp_path / "run", trained, narrow)], capsys
    )
    assert "the backbone of this classifier is not the model's" in error
    assert str(trained) in error and not (tmp_path / "run").exists()


def test_statistics_of_a_converted_detector_are_compared():
    statistics = {"pixel_mean": [1, 2, 3], "pixel_std": [1, 1, 1]}
    recipe = f"model: {{detector: {statistics}}}".replace("'", "")
    inside = {"detector": {"quantizer": "sign", "detector": statistics}}
    cfg = OmegaConf.create({"model": inside})
    assert other_pixels_warning(cfg, LoadReport("w.pth", 1, recipe=recipe)) == ""
    cfg.model.detector.detector.pixel_mean = [3, 2, 1]
    warning = other_pixels_warning(cfg, LoadReport("w.pth", 1, recipe=recipe))
    assert "pixel_mean [1.0, 2.0, 3.0], the model has [3.0, 2.0, 1.0]" in warning


def test_pixels_of_a_teacher_are_compared():
    statistics = {"pixel_mean": [1, 2, 3], "pixel_std": [1, 1, 1]}
    mapper = {"dataloader": {"train": {"mapper": {"image_format": "RGB"}}}}
    teacher = {"detector": {"pixel_mean": [3, 2, 1]}, "teacher": {"model": dict(statistics)}}
    cfg = OmegaConf.create({"model": teacher} | mapper)
    saved = OmegaConf.create({"model": {"detector": statistics}} | mapper)
    key = "model.teacher.model"
    report = LoadReport("t.pth", 1, recipe=OmegaConf.to_yaml(saved))
    assert other_pixels_warning(cfg, report, key) == ""
    flipped = other_pixels_warning(cfg, report, key, flipped=True)
    assert flipped.startswith(f"t.pth was trained with image_format RGB, {key} has BGR: ")
    saved.dataloader.train.mapper.image_format = "BGR"
    report = LoadReport("t.pth", 1, recipe=OmegaConf.to_yaml(saved))
    assert other_pixels_warning(cfg, report, key, flipped=True) == ""
    assert f"image_format BGR, {key} has RGB" in other_pixels_warning(cfg, report, key)
    cfg.model.teacher.model.pixel_std = [2, 1, 1]
    assert f"pixel_std [1.0, 1.0, 1.0], {key} has [2.0, 1.0, 1.0]" in (
        other_pixels_warning(cfg, report, key)
    )
