from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import Mock

from lowres_d2.analysis import gains, write_report
from lowres_d2.engine.processes.folder_lock import FolderInUse, folder_lock
from lowres_d2.engine.run_folder import LOCK
from lowres_d2.engine.stages import with_lengths
from lowres_d2.evaluation.bootstrap import draw_images
from lowres_d2.programs import measured_runs
from lowres_d2.programs.quick_benchmarks import BENCHMARKS
from lowres_d2.programs.recipe_runs import RecipeRun
from lowres_d2.programs.reproduce import main, reproduce
from lowres_d2.programs.train import main as train
from lowres_d2.recipes.load import build

import pytest
import torch
from detectron2.config import instantiate

from toys.narrow import load_shipped
from toys.runs import PLAIN, run_overrides

TINY = [
    "train.max_iter=3",
    "train.eval_period=0",
    "train.checkpointer.period=10",
    "train.log_period=1",
    "train.device=cpu",
    "train.teacher_check.images=0",
    "dataloader.train.dataset.num_images=8",
    "dataloader.train.total_batch_size=2",
    "dataloader.train.num_workers=0",
    "dataloader.test.dataset.num_images=16",
    "dataloader.test.num_workers=0",
]


@pytest.fixture
def few_redraws(monkeypatch):
    """Intervals of a few redraws of the test images, whose number other tests are about."""
    monkeypatch.setattr(gains, "draw_images", partial(draw_images, draws=20))


@pytest.mark.slow
@pytest.mark.usefixtures("few_redraws")
def test_a_benchmark_goes_from_nothing_to_a_report_and_is_not_done_twice(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    students = dict(list(BENCHMARKS["thumbdet"].students.items())[:1])
    sheets = ("thumbnails", "detections", "outcomes", "saliency")
    benchmark = replace(BENCHMARKS["thumbdet"], students=students, sheets=sheets)
    report = reproduce(benchmark, tmp_path / "out", [1, 2], overrides=TINY)
    text = report.read_text()
    for title in ("teacher", "full resolution", "bicubic"):
        assert f"| {title} " in text
    for name in ("trade_off.png", *(f"{sheet}.png" for sheet in sheets)):
        assert (tmp_path / "out" / name).stat().st_size > 1000 and name in text
    for seed in (1, 2):
        assert (tmp_path / "out" / f"seed{seed}" / "report.md").is_file()

    capsys.readouterr()
    reproduce(replace(benchmark, sheets=()), tmp_path / "out", [1], overrides=TINY)
    assert capsys.readouterr().out.count("done before") >= 3


@pytest.mark.slow
@pytest.mark.usefixtures("few_redraws")
def test_a_control_is_trained_on_request(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    thumbdet = BENCHMARKS["thumbdet"]
    students = dict(list(thumbdet.students.items())[:1])
    benchmark = replace(
        thumbdet, students=students, variants={}, sheets=(), baseline="teacher", closes_gap=False
    )
    few = [*TINY, "dataloader.test.dataset.num_images=4"]
    for asked in (False, True):
        report = reproduce(benchmark, tmp_path / "out", [1], asked, few)
        assert ("| full resolution " in report.read_text()) == asked
        assert "**bicubic** against teacher: AP " in report.read_text()
        assert (tmp_path / "out" / "longer").exists() == asked


def test_what_was_evaluated_into_a_finished_runs_folder_is_not_its_result(
    trained, tmp_path, capsys
):
    overrides = [*trained.data.overrides(), "train.max_iter=2"]
    run = RecipeRun("run", PLAIN, tmp_path / "run", overrides)
    finished = run.finish()
    detections = run.predictions.read_text()
    state = torch.load(run.weights, weights_only=True)
    state["model"]["detector.head.cls_score.bias"] += 1
    torch.save(state, tmp_path / "other.pth")
    config = ["--config-file", str(run.folder / "config.yaml")]
    train(["--eval-only", *config, f"train.init_checkpoint={tmp_path / 'other.pth'}"])
    assert run.predictions.read_text() != detections
    capsys.readouterr()
    for _ in range(2):
        assert RecipeRun("run", PLAIN, run.folder, overrides).finish() == finished
        assert run.predictions.read_text() == detections
    assert capsys.readouterr().out.count("run: evaluating again, in ") == 1


def test_the_time_of_an_interrupted_run_is_not_known(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    recipe = "configs/quick/full_fcos_small_256_plates.py"
    run = RecipeRun("run", recipe, tmp_path / "run", [*TINY, "train.checkpointer.period=1"])
    whole = run.finish()
    assert whole.seconds > 0 and whole.core_seconds > 0
    (run.folder / "done.json").unlink()
    (run.folder / "model_final.pth").unlink()
    (run.folder / "last_checkpoint").write_text("model_0000000.pth")
    resumed = run.finish()
    assert resumed == replace(whole, seconds=None, core_seconds=None)
    assert RecipeRun("run", recipe, run.folder, run.overrides).finish() == resumed
    dataset = instantiate(run.config().dataloader.test.dataset)
    report = write_report(tmp_path / "report", [run.reported(resumed)], dataset, "Runs")
    assert "| not known " in report.read_text()


@pytest.mark.parametrize("name", BENCHMARKS)
def test_all_recipes_of_a_benchmark_are_checked_before_the_first_trains(name, tmp_path):
    for override, words in (
        ("train.stages.0.iterations=5000", "train.stages"),
        ("model.resampler.factor=no", "model.resampler.factor"),
    ):
        with pytest.raises((KeyError, ValueError), match=words) as caught:
            reproduce(BENCHMARKS[name], tmp_path / "out", [1], True, [override])
        assert ".py: " in caught.value.args[0]
        assert not (tmp_path / "out").exists()


def test_benchmarks_keep_their_proportions_in_fewer_iterations(tmp_path):
    recipes = {
        row.recipe
        for benchmark in BENCHMARKS.values()
        for row in (*benchmark.students.values(), *benchmark.variants.values())
    }
    staged = {}  # a recipe of each form of stages and length
    for recipe in sorted(recipes):
        train = load_shipped(recipe).train
        if train.stages:
            staged.setdefault(f"{train.max_iter} {train.stages}", recipe)
    assert len(staged) >= 5
    for recipe in staged.values():
        run = RecipeRun("run", recipe, tmp_path, ["train.max_iter=40"])
        run.check()
        stages = build(run.config(), "train.stages")
        whole = load_shipped(recipe).train.max_iter
        for few, many in zip(with_lengths(stages, 40), with_lengths(stages, whole), strict=True):
            # The shortest stage has an iteration; else they differ by rounding alone.
            share = many.iterations / whole
            assert few.iterations == pytest.approx(40 * share, abs=1)


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name.startswith("dfd")])
def test_a_student_is_the_network_of_its_teacher_and_is_trained_as_long(name, tmp_path):
    benchmark = BENCHMARKS[name]
    recipes = {benchmark.first}
    recipes |= {row.recipe for row in (*benchmark.students.values(), *benchmark.variants.values())}
    loaded = {recipe: RecipeRun("run", recipe, tmp_path).config() for recipe in recipes}
    assert len({cfg.train.max_iter for cfg in loaded.values()}) == 1
    by_name = {Path(recipe).stem: cfg for recipe, cfg in loaded.items()}
    taught = [cfg for cfg in loaded.values() if "teacher" in cfg.model]
    for cfg in taught:
        teacher = by_name[Path(cfg.model.teacher.checkpoint).parent.name]
        assert cfg.model.detector == teacher.model.detector
        assert cfg.dataloader.train == teacher.dataloader.train
    assert len(taught) >= 3


def test_a_run_that_stops_early_reports_the_iterations_that_it_did(coco_json, tmp_path):
    overrides = [
        *run_overrides(coco_json, iterations=6, log_period=1),
        "train.eval_period=1",
        "train.early_stopping.enabled=true",
        "train.early_stopping.patience=1",
        "model.detector.test_score_thresh=1.0",  # nothing is found, so nothing improves
    ]
    assert RecipeRun("run", PLAIN, tmp_path / "run", overrides).finish().iterations == 2


def test_a_folder_that_another_run_writes_into_is_not_renamed(tmp_path, monkeypatch):
    monkeypatch.setattr("lowres_d2.programs.recipe_runs.train", lambda *_, **__: 1 / 0)
    folder = tmp_path / "run"
    for name in ("run", "run-earlier2"):
        (tmp_path / name).mkdir()
    (folder / "model_0000001.pth").write_text("of another recipe")
    run = RecipeRun("run", str(PLAIN), folder)
    with folder_lock(folder / LOCK):
        with pytest.raises(FolderInUse, match="run is in use by process"):
            run.finish()
        assert {p.name for p in tmp_path.iterdir()} == {"run", "run-earlier2"}
    with pytest.raises(ZeroDivisionError):  # the training, once the other has ended
        run.finish()
    assert [p.name for p in (tmp_path / "run-earlier3").iterdir()] == ["model_0000001.pth"]
    assert not (folder / "model_0000001.pth").exists()


def test_a_measurement_that_fails_leaves_the_number_of_threads(monkeypatch):
    seen = []

    def fails(*_, **__):
        seen.append(torch.get_num_threads())
        raise MemoryError

    monkeypatch.setattr(measured_runs, "measure_points", fails)
    monkeypatch.setattr(measured_runs, "build", lambda *_: [])
    run = Mock(title="small", model=lambda: torch.nn.Linear(1, 1))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(MemoryError):
            measured_runs.measure_runs([run], [], {})
        assert (seen, torch.get_num_threads()) == ([1], 3)
    finally:
        torch.set_num_threads(before)


def test_bad_arguments_end_the_program(capsys):
    with pytest.raises(SystemExit):
        main(["thumbdet", "--output", "x", "--seeds", "0"])
    assert "at least 1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["thumbdit", "--output", "x"])
    assert "thumbdet" in capsys.readouterr().err
