from pathlib import Path

from lowres_d2.engine.stages import with_lengths
from lowres_d2.programs.compare import main as compare
from lowres_d2.programs.quickstart import (
    FULL,
    STUDENTS,
    main,
    quickstart,
    quickstart_runs,
)
from lowres_d2.programs.reproduce import main as reproduce
from lowres_d2.programs.trial import TRIAL
from lowres_d2.recipes.load import build

import pytest

TINY = [
    "train.max_iter=3",
    "train.teacher_check.images=0",
    "train.eval_period=0",
    "train.checkpointer.period=1",
    "train.log_period=1",
    "train.device=cpu",
    "dataloader.train.dataset.num_images=8",
    "dataloader.train.total_batch_size=2",
    "dataloader.train.num_workers=0",
    "dataloader.test.dataset.num_images=4",
    "dataloader.test.num_workers=0",
]


# One student is enough here: all their recipes are tested with the others.
STUDENT = next(iter(STUDENTS))
TITLES = [FULL[0], STUDENT]


def lengths(overrides=()):
    """Those of the stages of all runs."""
    found = []
    for run in quickstart_runs(Path("out"), overrides):
        run.check()
        cfg = run.config()
        assert cfg.train.student_from_teacher == (run.title != FULL[0])
        stages = with_lengths(build(cfg, "train.stages"), cfg.train.max_iter)
        found.append((cfg.train.max_iter, *(stage.iterations for stage in stages)))
    return found


def test_stages_of_the_students_fit_into_any_number_of_iterations():
    assert lengths() == [(1500,), (1300,), (1300, 32, 1268), (1300, 32, 748, 520)]
    assert lengths(TRIAL.split()) == [(20,), (20,), (20, 1, 19), (20, 1, 11, 8)]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.resampler.strides=[2,2]", r"full_\S*\.py: model.resampler.strides: .* no such"),
        ("train.max_iter=2", r"thumbdet4_\S*\.py: train.max_iter=2 leaves no iteration"),
    ],
)
def test_all_recipes_are_checked_before_the_first_trains(override, words, tmp_path):
    with pytest.raises((KeyError, ValueError), match=words):
        quickstart(tmp_path / "out", [override])
    assert not (tmp_path / "out").exists()


def test_help_says_how_to_try_it_and_then_a_teacher_of_a_few_iterations_passes(capsys):
    for program in (main, compare, reproduce):
        with pytest.raises(SystemExit, match="0"):
            program(["--help"])
        assert TRIAL in " ".join(capsys.readouterr().out.split())
    full, *_ = quickstart_runs(Path("out"), TRIAL.split())
    assert full.config().train.teacher_check.min_ap == 0


@pytest.mark.slow
def test_quickstart_reports_both_and_does_nothing_twice(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    monkeypatch.setattr("lowres_d2.programs.quickstart.STUDENTS", {STUDENT: STUDENTS[STUDENT]})
    output = tmp_path / "quickstart"
    report = quickstart(output, TINY)
    text = report.read_text()
    assert all(f"| {title}" in text for title in TITLES)
    assert "<=12 px" in text
    for image in ("training.png", "images.png", "by_size.png"):
        assert (output / image).stat().st_size > 1000 and image in text

    capsys.readouterr()
    quickstart(output, TINY)
    assert capsys.readouterr().out.count("done before") == len(TITLES)

    quickstart(output, [*TINY, "optimizer.lr=0.001"])
    assert "done before" not in capsys.readouterr().out
    # The other recipe's runs are kept aside, and neither resumed nor overwritten.
    assert len(list(output.glob("*-earlier1/model_final.pth"))) == len(TITLES)
