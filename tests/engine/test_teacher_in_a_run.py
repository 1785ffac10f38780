import re
import shutil

from lowres_d2.engine.student_init import start_from_teacher
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import LearnedDownsampler
from lowres_d2.modeling.teacher import Teacher
from lowres_d2.programs.train import main
from lowres_d2.recipes.find import PACKAGE
from lowres_d2.recipes.load import load_recipe

import pytest
import torch
from detectron2.config import LazyConfig, instantiate

from toys.one_line_errors import error_of

UNCHECKED = "train.teacher_check.images=0"
RECIPE = "tests/toys/recipes/distilled.py"


def loaded(path):
    return torch.load(path, weights_only=True)


def save_teacher(arguments, path, classes=("red", "green"), edit=lambda weights: None, ema=False):
    """The teacher's network with random weights, as a run writes it."""
    cfg = load_recipe(RECIPE, arguments[2:])
    torch.manual_seed(5)
    weights = {f"detector.{k}": v for k, v in instantiate(cfg.model.detector).state_dict().items()}
    edit(weights)
    checkpoint = {"model": weights, "classes": list(classes)}
    if ema:
        average = {f"module.{k}": v + 1 for k, v in weights.items()}
        checkpoint["ema"] = {"n_averaged": torch.tensor(3), **average}
    torch.save(checkpoint, path)
    return path


@pytest.fixture
def arguments(toy_arguments):
    """A distilled run of 2 iterations; the teacher's weights are not given yet."""
    toy_arguments[1] = RECIPE
    return [*toy_arguments, "train.max_iter=2", "train.checkpointer.period=1", UNCHECKED]


@pytest.fixture
def taught(arguments, tmp_path):
    """The same run with a teacher's file."""
    path = save_teacher(arguments, tmp_path / "teacher.pth")
    return [*arguments, f"model.teacher.checkpoint={path}"]


@pytest.mark.parametrize("ema", [False, True])
def test_the_student_starts_with_its_teachers_weights(arguments, tmp_path, ema):
    path = save_teacher(arguments, tmp_path / "teacher.pth", ema=ema)
    frozen = ["optimizer.lr=0", "train.ema.enabled=true", "train.student_from_teacher=true"]
    main([*arguments, f"model.teacher.checkpoint={path}", *frozen])
    run, teacher = loaded(tmp_path / "run" / "model_0000000.pth"), loaded(path)
    compared = [name for name in teacher["model"] if not name.endswith(("running_mean", "var"))]
    for name in compared:
        if teacher["model"][name].is_floating_point():
            # The weights that the teacher's run evaluated: its average, where there is one.
            assert torch.equal(run["model"][name], teacher["model"][name] + ema), name
            assert torch.equal(run["ema"][f"module.{name}"], run["model"][name]), name
    found = re.search(r"the teacher: (\d+) of (\d+) t", (tmp_path / "run/log.txt").read_text())
    assert found[1] == found[2] and int(found[1]) > 50


def small_fcos(channels):
    path = PACKAGE.parent / "configs/common/models/fcos_small.py"
    cfg = LazyConfig.load(str(path)).model
    cfg.backbone.bottom_up.in_channels = channels
    cfg.pixel_mean, cfg.pixel_std = [115.0] * channels, [64.0] * channels
    return instantiate(cfg)


def test_a_student_with_wide_thumbnails_starts_as_its_teacher_on_their_colours():
    torch.manual_seed(0)
    wide = LearnedDownsampler(4, out_channels=8)
    model = LowResDetector(small_fcos(8), wide, Teacher(small_fcos(3)))
    start_from_teacher(model)
    low_res = 255 * torch.stack(wide([torch.rand(3, 128, 128)]))
    stem, taught = (
        network.backbone.bottom_up.stem for network in (model.detector, model.teacher.model)
    )
    stem.eval()  # as the teacher is
    torch.testing.assert_close(stem(low_res), taught(low_res[:, :3]))
    assert stem.conv1.weight.shape[1] == 8


def test_missing_weights_of_the_teacher_are_said_to_be_the_teachers(arguments, capsys):
    line = error_of([*arguments, "model.teacher.checkpoint=/nowhere/t.pth"], capsys)
    assert "the teacher (model.teacher.checkpoint): no weights at /nowhere/t.pth" in line


def test_a_resumed_run_continues_from_its_checkpoint_not_from_the_teacher(taught, tmp_path):
    taught += ["train.student_from_teacher=true"]
    main(taught)
    whole = loaded(tmp_path / "run" / "model_0000001.pth")["model"]
    broken = tmp_path / "broken"
    broken.mkdir()
    shutil.copy(tmp_path / "run" / "model_0000000.pth", broken)
    (broken / "last_checkpoint").write_text("model_0000000.pth")
    main(["--resume", *taught, f"train.output_dir={broken}"])
    resumed = loaded(broken / "model_0000001.pth")["model"]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def narrow(weights):
    del weights["detector.head.cls_score.bias"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.init_checkpoint=w.pth", ["train.init_checkpoint", "keep the one"]),
        ("+model.teacher.flip_channels=true", ["image_format", "flip_channels=false"]),
        (
            "model.detector.pixel_mean=[1.0, 2.0, 3.0]",
            ["pixel_mean is [1.0, 2.0, 3.0]", "make them equal"],
        ),
        (
            "model.detector.head.conv_dims=[96]",
            ["head.cls_subnet", "the teacher has", "train.init_checkpoint"],
        ),
    ],
)
def test_a_student_that_does_not_fit_its_teacher_is_refused(
    taught, tmp_path, capsys, override, words
):
    line = error_of([*taught, "train.student_from_teacher=true", override], capsys)
    assert all(word in line for word in words), line
    assert not list(tmp_path.rglob("model_*.pth"))


def test_a_student_without_a_teacher_is_refused(toy_arguments, capsys):
    line = error_of([*toy_arguments, "train.student_from_teacher=true"], capsys)
    assert "no teacher" in line


def test_a_teacher_without_weights_is_refused(arguments, capsys):
    line = error_of(arguments, capsys)
    assert "model.teacher.checkpoint=FILE" in line


def test_a_teacher_of_another_number_of_classes_is_refused(taught, capsys):
    line = error_of([*taught, "model.teacher.model.num_classes=5"], capsys)
    assert "model.teacher.model.num_classes is 5" in line and "2 classes (red, green)" in line


def test_a_teacher_trained_on_classes_in_another_order_is_refused(arguments, tmp_path, capsys):
    path = save_teacher(arguments, tmp_path / "teacher.pth", classes=("green", "red"))
    line = error_of([*arguments, f"model.teacher.checkpoint={path}"], capsys)
    assert f"model.teacher.checkpoint={path} was trained on 2 classes (green, red)" in line
    assert "the data has 2 (red, green)" in line


def test_a_teacher_whose_file_lacks_a_tensor_is_refused(arguments, tmp_path, capsys):
    path = save_teacher(arguments, tmp_path / "teacher.pth", edit=narrow)
    line = error_of([*arguments, f"model.teacher.checkpoint={path}"], capsys)
    assert "teacher.pth" in line and "head.cls_score.bias" in line


def test_a_tap_of_a_module_that_the_teacher_lacks_is_refused(taught, capsys):
    line = error_of(
        [*taught, "+model.objectives.0.pairs.0.teacher=backbone.bottom_up.res33"], capsys
    )
    assert "backbone.bottom_up.res33" in line and "backbone.bottom_up.res3" in line
