"""The image sheets of a benchmark's report, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from lowres_d2.analysis import (
    Column,
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
from lowres_d2.analysis.figures.outcomes import FOUR_OUTCOMES, THREE_OUTCOMES, OutcomeColors
from lowres_d2.analysis.figures.super_resolved_features import write_super_resolved_features
from lowres_d2.analysis.figures.super_resolved_images import write_super_resolved
from lowres_d2.analysis.run import Run
from lowres_d2.analysis.saliency import saliency_of, write_saliency
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
    benchmark: Benchmark,
    path: Path,
    runs: Mapping[str, RecipeRun],
    dataset: BoxDataset,
    colors: OutcomeColors = FOUR_OUTCOMES,
) -> None:
    write_failure_cases(
        path,
        dataset,
        _columns(_compared(benchmark, runs), dataset),
        dataset.classes,
        ours=benchmark.method,
        baseline=benchmark.baseline,
        reference=_reference(benchmark),
        colors=colors,
    )


def _saliency(
    benchmark: Benchmark, path: Path, runs: Mapping[str, RecipeRun], dataset: BoxDataset
) -> None:
    shown = _compared(benchmark, runs)
    maps = {}
    for title in shown:
        mapper = instantiate(runs[title].config().dataloader.test.get("mapper"))
        maps[title] = saliency_of(runs[title].model(), mapper)
    original = next(iter(shown.values())).stored
    entries = choose_images(dataset, _IMAGES)
    write_saliency(path, entries, _columns(shown, dataset), maps, original)


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


def _columns(runs: Mapping[str, Run], dataset: BoxDataset) -> list[Column]:
    return [
        detected_column(title, run.predictions_file, dataset, run.view)[0]
        for title, run in runs.items()
    ]


def _reported(run: RecipeRun) -> Run:
    return run.reported(run.finish())


_SHEETS = {
    "thumbnails": ("Thumbnails", _thumbnails),
    "features": ("Features of downsampled, super-resolved and full regions", _features),
    "super_resolved": ("Images before and after super-resolution", _super_resolved),
    "detections": ("Detections with failure cases", _detections),
    "outcomes": (
        "Hits, misses and false alarms of detectors",
        partial(_detections, colors=THREE_OUTCOMES),
    ),
    "saliency": ("Detections and what they depend on in feature maps", _saliency),
    "curves": ("Accuracy over the setting's value", _curves),
    "classified": ("Classified images with failure cases", _classified),
}
