"""The image sheets of a benchmark's report, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lowres_d2.analysis import (
    choose_images,
    detected_column,
    write_failure_cases,
    write_thumbnails,
)
from lowres_d2.analysis.figures.classified_images import (
    Classifier,
    choose_cases,
    write_classified,
)
from lowres_d2.analysis.figures.curves import plot_over_value
from lowres_d2.analysis.figures.super_resolved_features import write_super_resolved_features
from lowres_d2.analysis.figures.super_resolved_images import write_super_resolved
from lowres_d2.analysis.run import Run
from lowres_d2.data.datasets import BoxDataset
from lowres_d2.evaluation.classified import Classified
from lowres_d2.evaluation.super_resolution.evaluator import TASK
from lowres_d2.programs.quick_benchmarks import Benchmark
from lowres_d2.programs.recipe_runs import RecipeRun

from detectron2.config import instantiate

_IMAGES = 3  # rows of a sheet whose images are not chosen by what was found on them


def write_sheets(
    benchmark: Benchmark, output: Path, runs: Sequence[RecipeRun], dataset: Sequence[Mapping]
) -> list[str]:
    """Draw the benchmark's sheets of one seed.

    Args:
        benchmark: which sheets.
        output: folder that they go into.
        runs: of all models, done.
        dataset: that they were evaluated on.

    Returns:
        Markdown that shows them, a line each.
    """
    by_title = {run.title: run for run in runs}
    lines = []
    for name in benchmark.sheets:
        title, write = _SHEETS[name]
        write(benchmark, output / f"{name}.png", by_title, dataset)
        lines.append(f"![{title}]({name}.png)")
    return lines


def _thumbnails(
    benchmark: Benchmark, path: Path, runs: Mapping[str, RecipeRun], dataset: Sequence[Mapping]
) -> None:
    shown = benchmark.thumbnails or benchmark.students
    reported = {title: _reported(runs[title]) for title in shown if title in runs}
    views = {title: run.view for title, run in reported.items()}
    original = next(iter(reported.values())).stored
    write_thumbnails(path, choose_images(dataset, _IMAGES), views, original)


def _features(
    benchmark: Benchmark, path: Path, runs: Mapping[str, RecipeRun], dataset: BoxDataset
) -> None:
    supervised = list(benchmark.students)[1:]  # the first one follows nothing
    models = {title: runs[title].model() for title in supervised}
    mapper = instantiate(runs[benchmark.method].config().dataloader.test.mapper)
    write_super_resolved_features(path, dataset, models, mapper)


def _super_resolved(
    benchmark: Benchmark, path: Path, runs: Mapping[str, RecipeRun], dataset: Sequence[Mapping]
) -> None:
    trained = {title: run for title, run in runs.items() if run.shown.task == TASK}
    models = {title: run.model() for title, run in trained.items()}
    mapper = instantiate(next(iter(trained.values())).config().dataloader.test.get("mapper"))
    write_super_resolved(path, dataset, models, mapper)


def _detections(
    benchmark: Benchmark, path: Path, runs: Mapping[str, RecipeRun], dataset: BoxDataset
) -> None:
    shown = _compared(benchmark, runs)
    columns = [
        detected_column(title, run.predictions_file, dataset, run.view)[0]
        for title, run in shown.items()
    ]
    write_failure_cases(
        path,
        dataset,
        columns,
        dataset.classes,
        ours=benchmark.method,
        baseline=benchmark.baseline,
        reference=_reference(benchmark),
    )


def _classified(
    benchmark: Benchmark, path: Path, runs: Mapping[str, RecipeRun], dataset: Sequence[Mapping]
) -> None:
    shown = _compared(benchmark, runs)
    classifiers = [
        Classifier(title, Classified.read(dataset, run.predictions_file), run.view)
        for title, run in shown.items()
    ]
    groups = choose_cases(classifiers, benchmark.method, benchmark.baseline, _reference(benchmark))
    stored = next(iter(shown.values())).stored
    write_classified(path, dataset, classifiers, dataset.classes, groups, stored)


def _curves(
    benchmark: Benchmark, path: Path, runs: Mapping[str, RecipeRun], dataset: Sequence[Mapping]
) -> None:
    curves: dict[str, dict[float, float]] = {}
    levels: dict[str, float] = {}
    for title, row in benchmark.students.items():
        if row.curve is None:
            continue
        line, value = row.curve
        shown = runs[title].shown
        accuracy = runs[title].finish().results[shown.task][shown.main]
        if value is None:
            levels[line] = accuracy
        else:
            curves.setdefault(line, {})[value] = accuracy
    metric = runs[benchmark.method].shown.main
    plot_over_value(curves, levels, path, benchmark.curves_over, metric)


def _reference(benchmark: Benchmark) -> str | None:
    return benchmark.full_title if benchmark.closes_gap else None


def _compared(benchmark: Benchmark, runs: Mapping[str, RecipeRun]) -> dict[str, Run]:
    """The baseline, the method and, where there is one, the model at full resolution."""
    reference = _reference(benchmark)
    compared = [benchmark.baseline, benchmark.method, *([reference] if reference else [])]
    return {title: _reported(runs[title]) for title in compared}


def _reported(run: RecipeRun) -> Run:
    return run.reported(run.finish())


_SHEETS = {
    "thumbnails": ("Thumbnails", _thumbnails),
    "features": ("Features of downsampled, super-resolved and full regions", _features),
    "super_resolved": ("Images before and after super-resolution", _super_resolved),
    "detections": ("Detections with failure cases", _detections),
    "curves": ("Accuracy over the setting's value", _curves),
    "classified": ("Classified images with failure cases", _classified),
}
