"""A classifier goes through a run from beginning to end, as detectors do."""

import contextlib
import io
import json
import logging
import shlex
import shutil

from lowres_d2.engine.evaluation_file import read_evaluation
from lowres_d2.programs.analyze import main as analyze
from lowres_d2.programs.train import main as train

import pytest
import torch
from PIL import Image

from toys.labelled import write_cifar

FULL, DISTILLED = (f"tests/toys/recipes/cifar_{name}.py" for name in ("full", "distilled"))


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = write_cifar(tmp_path_factory.mktemp("data"))
        patch.setenv("DETECTRON2_DATASETS", str(folder))
        yield


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """Folder of a finished run at full resolution, which tests leave as it is."""
    folder = tmp_path_factory.mktemp("finished")
    run(FULL, folder)
    return folder


def run(recipe, folder, *overrides):
    flags = [word for word in overrides if word.startswith("--")]
    keys = [word for word in overrides if not word.startswith("--")]
    keys += [f"train.output_dir={folder}", "train.device=cpu"]
    train([*flags, "--config-file", str(recipe), *keys])


def results(folder):
    return json.loads((folder / "evaluation.json").read_text())["classification"]


def weights(folder, name="model_final.pth"):
    return torch.load(folder / name, weights_only=True)["model"]


def test_it_is_trained_evaluated_and_evaluated_again(tmp_path, caplog):
    caplog.set_level(logging.INFO, "lowres_d2")
    folder = tmp_path / "run"
    run(FULL, folder)
    assert "images     train: 100, 10 of each class, 32x32" in caplog.text
    assert "boxes" not in caplog.text
    finished = caplog.text[caplog.text.index("finished") :]
    assert "(classification/top1 " in finished
    assert "\n  evaluate " in finished
    assert "\n  detect " not in finished
    command = next(line for line in finished.splitlines() if line.startswith("  classify "))
    image = tmp_path / "image.png"
    Image.new("RGB", (32, 32)).save(image)
    words = [word.replace("IMAGE", str(image)) for word in shlex.split(command)[1:]]
    assert words[:2] == ["python", "-c"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(words[2], {})
    assert said.getvalue().strip() in [f"class {k}" for k in range(10)]
    found = results(folder)
    assert {"top1", "top5", "top1-class 0", "top1-class 9"} <= found.keys()
    assert sum(found[f"top1-class {k}"] for k in range(10)) / 10 == pytest.approx(found["top1"])
    predictions = json.loads((folder / "classifications.json").read_text())
    assert [row["image_id"] for row in predictions] == list(range(1, 21))
    rows = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    assert [row["iteration"] for row in rows if "classification/top1" in row] != []
    checkpoint = torch.load(folder / "model_best.pth", weights_only=True)
    assert checkpoint["classes"] == [f"class {k}" for k in range(10)]
    apart = tmp_path / "apart"
    run(
        folder / "config.yaml",
        apart,
        "--eval-only",
        f"train.init_checkpoint={folder}/model_final.pth",
    )
    assert results(apart) == found
    subject = json.loads((apart / "evaluation.json").read_text())["evaluated"]
    del subject["detections"]
    assert read_evaluation(apart, subject)["classification"] == found
    (apart / "classifications.json").write_text("[]")
    assert read_evaluation(apart, subject) is None


def test_a_resumed_run_ends_as_one_that_was_never_stopped(finished, tmp_path):
    whole, stopped = finished, tmp_path / "stopped"
    shutil.copytree(whole, stopped)
    (stopped / "model_final.pth").unlink()
    (stopped / "last_checkpoint").write_text("model_0000002.pth")
    run(FULL, stopped, "--resume")
    before, after = weights(whole), weights(stopped)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert results(whole) == results(stopped)


def test_a_student_learns_from_a_teacher_that_stays_as_it_is(finished, tmp_path, caplog):
    teacher, student = finished, tmp_path / "student"
    before = weights(teacher, "model_best.pth")
    caplog.set_level(logging.INFO, "lowres_d2")
    run(
        DISTILLED,
        student,
        f"model.teacher.checkpoint={teacher}",
        "train.student_from_teacher=true",
        "train.teacher_check.images=0",
    )
    assert "loss_feature_features" in caplog.text
    after = weights(teacher, "model_best.pth")
    assert all(torch.equal(before[name], after[name]) for name in before)
    moved = weights(student)
    assert moved.keys() == before.keys()
    assert not torch.equal(
        moved["detector.classifier.weight"], before["detector.classifier.weight"]
    )
    evaluation = [f"train.init_checkpoint={student}/model_final.pth", "--eval-only"]
    run(student / "config.yaml", tmp_path / "compared", *evaluation)
    compared = json.loads((tmp_path / "compared" / "evaluation.json").read_text())["comparison"]
    assert compared["metric"] == "classification/top1"
    assert compared["full_resolution"]["accuracy"] is not None
    assert compared["fewer_macs"] == 1
    # Resampled as in training, all of it.
    assert "was trained with the resampler" not in caplog.text
    arguments = (f"model.teacher.checkpoint={student}", "train.teacher_check.images=0")
    run(DISTILLED, tmp_path / "pupil", *arguments)
    words = "was trained with the resampler DownUp(factor=4, interpolation=bicubic), the teacher"
    assert words in caplog.text
    caplog.clear()
    run(FULL, tmp_path / "elsewhere", *evaluation)
    assert "interpolation=bicubic), this evaluation gets images of full resolution" in caplog.text


def test_a_teacher_that_is_no_better_than_its_floor_is_refused(finished, tmp_path, capsys):
    arguments = (f"model.teacher.checkpoint={finished}", "train.teacher_check.min_ap=99")
    with pytest.raises(SystemExit):
        run(DISTILLED, tmp_path / "student", *arguments)
    assert "the teacher reaches only classification/top1" in capsys.readouterr().err
    assert not (tmp_path / "student").exists()


def test_weights_of_other_classes_are_refused(finished, tmp_path, capsys):
    path = tmp_path / "other.pth"
    contents = torch.load(finished / "model_final.pth", weights_only=True)
    contents["classes"][3] = "another"
    torch.save(contents, path)
    with pytest.raises(SystemExit):
        run(FULL, tmp_path / "again", "--eval-only", f"train.init_checkpoint={path}")
    assert "was trained on 10 classes" in capsys.readouterr().err


def test_analyze_counts_the_convolutions_and_the_last_layer(capsys):
    """By hand for width 4: a stem, stages of 4 to 32 channels on 32 to 4 cells, and 32x10."""
    analyze(["--config-file", FULL, "--json", "--size", "32", "32"])
    found = json.loads(capsys.readouterr().out)["full resolution"]
    expected, before = 32**2 * 9 * 3 * 4, 4
    for channels, side in ((4, 32), (8, 16), (16, 8), (32, 4)):
        expected += side**2 * 9 * (before * channels + 3 * channels**2)
        expected += side**2 * before * channels * (before != channels)
        before = channels
    assert found["macs"] == {"backbone": expected, "classifier": 320}


def test_analyze_needs_a_size_where_the_data_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(SystemExit):
        analyze(["--config-file", FULL])
    assert "--size H W needs no data" in capsys.readouterr().err
