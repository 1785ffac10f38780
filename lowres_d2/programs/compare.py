"""Compare full resolution, bicubic and ThumbDet on your detection data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lowres_d2.analysis.report import REPORT_FILES, write_report
from lowres_d2.own_files import check_own
from lowres_d2.programs.command_lines.compare import parse
from lowres_d2.programs.measured_runs import measure_runs
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.recipe_runs import RecipeRun, check_runs

from detectron2.config import instantiate

_RECIPES = "configs/own_data/"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; what a former call finished is not done again."""
    args = parse(arguments)
    run_reporting_mistakes(lambda: compare(args.output, args.factor, args.opts))


def compare(output: Path, factor: int, overrides: Sequence[str]) -> Path:
    """Train what has not been trained before, and write the report.

    Args:
        output: folder; each detector gets a folder in it.
        factor: 2 or 4.
        overrides: ``key=value`` for all recipes.

    Returns:
        Path of ``report.md``.
    """
    check_own(output / name for name in REPORT_FILES)
    runs = compared_runs(output, factor, overrides)
    check_runs(runs)
    finished = [run.finish() for run in runs]
    dataset = instantiate(runs[0].config().dataloader.test.dataset)
    compared = runs[1:]  # the teacher is the first of them at an earlier time
    accuracies = {
        run.title: run.shown.accuracy(one.results) for run, one in zip(runs, finished, strict=True)
    }
    points, _ = measure_runs(compared, dataset, accuracies)
    reported = [
        replace(run.reported(one), images_per_second=point.images_per_second, macs=point.macs)
        for run, one, point in zip(compared, finished[1:], points, strict=True)
    ]
    report = write_report(output, reported, dataset, f"Full resolution and {factor}x thumbnails")
    print(f"report: {report}")
    return report


def compared_runs(output: Path, factor: int, overrides: Sequence[str]) -> list[RecipeRun]:
    """The teacher, then what is compared: detectors that all start as the teacher.

    Args:
        output: folder; each run gets a folder in it.
        factor: 2 or 4.
        overrides: ``key=value`` for all recipes.
    """
    full, bicubic = (f"{_RECIPES}{name}_fcos_small_own.py" for name in ("full", "bicubic4"))
    teacher = RecipeRun("teacher", full, output / "teacher", overrides)
    start = [f"train.init_checkpoint={teacher.weights}", *overrides]
    taught = [f"model.teacher.checkpoint={teacher.weights}", *overrides]
    thumbnails = [f"model.resampler.factor={factor}", *start]
    thumbdet = f"{_RECIPES}thumbdet{factor}_fcos_small_own.py"
    return [
        teacher,
        RecipeRun("full resolution", full, output / "full", start),
        RecipeRun(f"bicubic {factor}x", bicubic, output / f"bicubic{factor}", thumbnails),
        RecipeRun(f"ThumbDet {factor}x", thumbdet, output / f"thumbdet{factor}", taught),
    ]
