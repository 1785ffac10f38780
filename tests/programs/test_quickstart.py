from lowres_d2.engine.stages import with_lengths
from lowres_d2.programs.quickstart import FULL, ITERATIONS, STUDENTS, quickstart
from lowres_d2.recipes.load import build, load_recipe

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


@pytest.mark.parametrize("recipe", STUDENTS.values())
def test_stages_of_the_students_fit_into_their_iterations(recipe):
    cfg = load_recipe(recipe)
    assert cfg.train.student_from_teacher
    stages = with_lengths(build(cfg, "train.stages"), ITERATIONS)
    assert sum(stage.iterations for stage in stages) == (ITERATIONS if stages else 0)


@pytest.mark.slow
def test_quickstart_reports_both_and_does_nothing_twice(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    monkeypatch.setattr("lowres_d2.programs.quickstart.STUDENTS", {STUDENT: STUDENTS[STUDENT]})
    output = tmp_path / "quickstart"
    report = quickstart(output, TINY)
    text = report.read_text()
    assert all(f"| {title}" in text for title in TITLES)
    assert "<12 px" in text
    for image in ("training.png", "images.png", "by_size.png"):
        assert (output / image).stat().st_size > 1000 and image in text

    capsys.readouterr()
    quickstart(output, TINY)
    assert capsys.readouterr().out.count("done before") == len(TITLES)

    quickstart(output, [*TINY, "optimizer.lr=0.001"])
    assert "done before" not in capsys.readouterr().out
    # The other recipe's runs are kept aside, and neither resumed nor overwritten.
    assert len(list(output.glob("*-earlier1/model_final.pth"))) == len(TITLES)
