"""Draw runs: thumbnails, detections, accuracy, speed, gains.

A run is the folder of a finished training, its weights, or ``RECIPE@WEIGHTS``. ``thumbnails`` and
``data`` also take a bare ``RECIPE``, with its resampler at initialization. ``NAME=RUN`` names a run
in the figures. ``data`` shows training images with their boxes or classes as the network gets them.
``detections`` shows where runs differ, or what one run finds and misses; ``outcomes`` has the same
images with hits, misses and false alarms in plain boxes; ``saliency`` shows which cells of a
feature map the scores depend on. ``stages`` divides the MACs of each backbone, of a bare ``RECIPE``
too, and needs no data. ``all`` leaves out the last three and ``data``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lowres_d2.analysis import (
    Column,
    Point,
    choose_images,
    detected_column,
    input_view,
    measure_points,
    plot_trade_off,
    points_of_comparisons,
    stored_view_of,
    write_failure_cases,
    write_thumbnails,
    write_training_data,
)
from lowres_d2.analysis.cost.stages import SIZE, macs_by_stage, plot_stages
from lowres_d2.analysis.figures.classified_images import (
    Classifier,
    choose_cases,
    write_classified,
    write_labelled_training,
)
from lowres_d2.analysis.figures.confusion import plot_confusion
from lowres_d2.analysis.figures.outcomes import FOUR_OUTCOMES, THREE_OUTCOMES
from lowres_d2.analysis.figures.super_resolved_images import write_super_resolved
from lowres_d2.analysis.findings import findings_kind
from lowres_d2.analysis.gains import gains_tables, redrawn
from lowres_d2.analysis.saliency import saliency_of, write_saliency
from lowres_d2.engine.compare import COUNTED_IMAGES, first_images, images_to_time, machine
from lowres_d2.engine.hooks.repeatable import seed_everything
from lowres_d2.engine.run_folder import EVALUATION
from lowres_d2.evaluation.classification import TASK
from lowres_d2.evaluation.classified import Classified
from lowres_d2.evaluation.shown import BOXES
from lowres_d2.evaluation.super_resolution.evaluator import TASK as SUPER_RESOLUTION
from lowres_d2.own_files import check_own, own_path
from lowres_d2.programs.command_lines.visualize import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.shown_runs import (
    ShownRun,
    check_caps,
    check_comparable,
    check_names,
    check_roles,
    check_there,
    check_trained,
    file_name,
    mapper_of,
    open_run,
    untrained_model,
)
from lowres_d2.recipes.load import build

FILES = {
    "thumbnails": "thumbnails.png",
    "detections": "detections.png",
    "outcomes": "outcomes.png",
    "saliency": "saliency.png",
    "classified": "classified.png",
    "confusion": "confusion.png",
    "super-resolved": "super_resolved.png",
    "trade-off": "trade_off.png",
    "gains": "gains.md",
}
ALL = {  # the parts of "all" by the task of the runs
    BOXES.task: ("thumbnails", "detections", "trade-off", "gains"),
    TASK: ("thumbnails", "classified", "confusion", "trade-off", "gains"),
    SUPER_RESOLUTION: ("super-resolved",),
}
ALONE = {BOXES.task: ("outcomes", "saliency")}  # parts that are drawn by their name alone
COLORS = {"detections": FOUR_OUTCOMES, "outcomes": THREE_OUTCOMES}
DATA, STAGES, GAINS = "data", "stages", "gains"
UNTRAINED = ("thumbnails", DATA, STAGES)  # parts that need no weights
_TWO = "gains: expected at least two runs to compare"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    args = parse(arguments)
    run_reporting_mistakes(lambda: _run(args))


class NothingToDrawError(ValueError):
    """The runs do not have what a figure shows."""


def draw_thumbnails(runs: Sequence[ShownRun], output: Path, images: int) -> Path:
    """Write ``thumbnails.png``: what the resamplers of the low-resolution runs make."""
    low = [run for run in runs if run.lowers_resolution]
    if not low:
        raise NothingToDrawError("thumbnails: none of the runs lowers the resolution")
    mapper = low[0].cfg.dataloader.test.get("mapper")
    original, views = input_view(mapper_of(low[0].cfg)), {}
    for run in low:
        if run.cfg.dataloader.test.get("mapper") != mapper:  # its thumbnails are of other images
            mapper = run.cfg.dataloader.test.get("mapper")
            views[f"input of {run.name}"] = input_view(mapper_of(run.cfg))
        views[run.name] = run.view()
    entries = choose_images(low[0].dataset, images)
    return write_thumbnails(output / "thumbnails.png", entries, views, original)


def draw_data(runs: Sequence[ShownRun], output: Path, images: int) -> list[Path]:
    """Write ``data.png``, of several ``data_NAME.png``: training images with boxes or classes.

    Args:
        runs: with their training sets built.
        output: folder.
        images: how many of each run.
    """
    paths = []
    for run, path in zip(runs, _data_files([run.name for run in runs], output), strict=True):
        seed_everything(run.cfg.train.seed, 0)  # each run draws its augmentations alike
        dataset = run.cfg.dataloader.train.dataset
        if "label" in dataset[0]:
            paths.append(_draw_labelled(run, path, images))
            continue
        mapper = build(run.cfg, "dataloader.train.mapper")
        entries = choose_images(dataset, images)
        paths.append(write_training_data(path, entries, mapper, run.model, dataset.classes))
    return paths


def _draw_labelled(run: ShownRun, path: Path, images: int) -> Path:
    """The first images of the training: a loader may augment whole batches."""
    dataset, mapper = run.cfg.dataloader.train.dataset, mapper_of(run.cfg, "train")
    samples = first_images(build(run.cfg, "dataloader.train"), images)
    wanted, view = {sample["image_id"] for sample in samples}, stored_view_of(mapper)
    stored = {e["image_id"]: view(e) for e in dataset if e["image_id"] in wanted}
    return write_labelled_training(
        path,
        samples,
        [stored[sample["image_id"]] for sample in samples],
        run.model,
        dataset.classes,
        getattr(mapper, "image_format", "RGB"),
    )


def _data_files(names: Sequence[str], output: Path) -> list[Path]:
    if len(names) == 1:
        return [output / "data.png"]
    return [output / f"data_{file_name(name)}.png" for name in names]


def draw_stages(runs: Sequence[str], output: Path, overrides: Sequence[str] = ()) -> Path:
    """Write ``stages.png``: which share of its MACs each stage of a backbone has.

    Args:
        runs: as the program takes them; their weights are not read.
        output: folder.
        overrides: ``key=value`` of all recipes.
    """
    path = output / "stages.png"
    check_own([path])
    models = [untrained_model(text, overrides) for text in runs]
    check_names([name for name, _ in models])
    macs = {name: macs_by_stage(model) for name, model in models}
    return plot_stages(macs, path, f"MACs of the backbone on {SIZE[1]}x{SIZE[0]} pixels")


def draw_detections(
    runs: Sequence[ShownRun],
    output: Path,
    images: int,
    roles: Mapping[str, str | None],
    part: str = "detections",
) -> Path:
    """Write ``detections.png``: where ours and the baseline differ most, both ways.

    Args:
        runs: trained; of one alone images with most misses or false alarms are drawn.
        output: folder.
        images: how many of each kind.
        roles: names for ``ours``, ``baseline`` and ``full``, None for the default.
        part: "outcomes" writes ``outcomes.png``, with plain boxes in three colours.
    """
    ours, baseline, reference = _compared(runs, roles)
    return write_failure_cases(
        output / FILES[part],
        runs[0].dataset,
        _columns(runs),
        runs[0].dataset.classes,
        ours,
        baseline,
        reference,
        images,
        COLORS[part],
    )


def _columns(runs: Sequence[ShownRun]) -> list[Column]:
    return [detected_column(run.name, run.predictions, run.dataset, run.view())[0] for run in runs]


def draw_saliency(runs: Sequence[ShownRun], output: Path, images: int) -> Path:
    """Write ``saliency.png``: detections, and what they depend on in feature maps."""
    maps = {run.name: saliency_of(run.model, mapper_of(run.cfg)) for run in runs}
    entries = choose_images(runs[0].dataset, images)
    path, original = output / FILES["saliency"], stored_view_of(mapper_of(runs[0].cfg))
    return write_saliency(path, entries, _columns(runs), maps, original)


def draw_classified(
    runs: Sequence[ShownRun], output: Path, images: int, roles: Mapping[str, str | None]
) -> Path:
    """Write ``classified.png``: images that ours and the baseline, or all, take for another class.

    Args:
        runs: at least two, trained.
        output: folder.
        images: a row of each kind has four times as many.
        roles: as for :func:`draw_detections`.
    """
    ours, baseline, reference = _compared(runs, roles)
    dataset = runs[0].dataset
    shown = [
        Classifier(run.name, Classified.read(dataset, run.predictions), run.view()) for run in runs
    ]
    groups = choose_cases(shown, ours, baseline, reference, 4 * images)
    stored = stored_view_of(mapper_of(runs[0].cfg))
    path = output / FILES["classified"]
    return write_classified(path, dataset, shown, dataset.classes, groups, stored)


def draw_super_resolved(runs: Sequence[ShownRun], output: Path, images: int) -> Path:
    """Write ``super_resolved.png``: what networks make of test images, four times as many."""
    models = {run.name: run.model for run in runs}
    path, mapper = output / FILES["super-resolved"], mapper_of(runs[0].cfg)
    return write_super_resolved(path, runs[0].dataset, models, mapper, 4 * images)


def draw_confusion(runs: Sequence[ShownRun], output: Path) -> Path:
    """Write ``confusion.png``: which classes each classifier takes for which."""
    dataset = runs[0].dataset
    found = {run.name: Classified.read(dataset, run.predictions).confusion() for run in runs}
    plot_confusion(found, dataset.classes, output / FILES["confusion"])
    return output / FILES["confusion"]


def _compared(
    runs: Sequence[ShownRun], roles: Mapping[str, str | None]
) -> tuple[str, str | None, str | None]:
    """Names of ours, the baseline, and the run at full resolution, if there are such."""
    low = [run.name for run in runs if run.lowers_resolution]
    full = [run.name for run in runs if not run.lowers_resolution]
    ours = roles["ours"] or runs[-1].name
    others = [name for name in low + full if name != ours]
    baseline = roles["baseline"] or next(iter(others), None)
    reference = roles["full"] or next((n for n in full if n not in (ours, baseline)), None)
    return ours, baseline, reference


def draw_trade_off(runs: Sequence[ShownRun], output: Path) -> Path:
    """Write ``trade_off.png``: as --eval-only measured, else measured now, all runs alternately."""
    check_caps({run.name: run.max_dets for run in runs})
    if all("comparison" in run.evaluation for run in runs):
        points = points_of_comparisons({run.name: run.folder / EVALUATION for run in runs})
        note = "speed as measured by each run's --eval-only"
    else:
        points, note = _measure(runs)
    return plot_trade_off(points, output / "trade_off.png", note, runs[0].shown.main)


def write_gains(runs: Sequence[ShownRun], output: Path) -> Path:
    """Write ``gains.md``: the gain of each run over each one before it, with its interval."""
    if len(runs) < 2:
        raise NothingToDrawError(_TWO)
    check_caps({run.name: run.max_dets for run in runs})
    findings = findings_kind(runs[0].shown.task)
    predicted = [findings.read(run.evaluator, run.dataset, run.predictions) for run in runs]
    found = dict(zip([run.name for run in runs], redrawn(predicted), strict=True))
    text = "\n\n".join(gains_tables(found, runs[0].shown.main, findings.kind)) + "\n"
    with own_path(output / FILES["gains"]) as part:
        part.write_text(text, encoding="utf-8")
    return output / FILES["gains"]


def _measure(runs: Sequence[ShownRun]) -> tuple[list[Point], str]:
    first = runs[0]
    for run in runs[1:]:
        if run.cfg.dataloader.test.get("mapper") != first.cfg.dataloader.test.get("mapper"):
            raise ValueError(
                f"{run.name} and {first.name} cannot be timed on the same inputs: their "
                "dataloader.test.mapper differ; measure each with train_net.py --eval-only"
            )
    images = first_images(build(first.cfg, "dataloader.test"), COUNTED_IMAGES)
    timed = images_to_time(images, first.model)
    models = {run.name: run.model for run in runs}
    points = measure_points(models, {run.name: run.accuracy() for run in runs}, images, timed)
    return points, f"speed: {len(timed)} images, one at a time, {machine(first.model)}"


def _run(args: argparse.Namespace) -> None:
    if args.images < 1:
        raise ValueError(f"--images {args.images}: expected a positive number")
    roles = {"ours": args.ours, "baseline": args.baseline, "full": args.full}
    check_there(args.runs)
    if args.part not in UNTRAINED:
        check_trained(args.runs)
    check_roles(args.runs, roles)
    if args.part == GAINS and len(args.runs) < 2:
        raise ValueError(_TWO)
    if args.part == DATA:
        runs = [open_run(text, args.output, args.opts, "train") for text in args.runs]
        check_names([run.name for run in runs])
        check_own(_data_files([run.name for run in runs], args.output))
        print(*draw_data(runs, args.output, args.images), sep="\n", flush=True)
        return
    if args.part == STAGES:
        print(draw_stages(args.runs, args.output, args.opts), flush=True)
        return
    if args.part != "all":
        check_own([args.output / FILES[args.part]])
    runs = [open_run(text, args.output, args.opts) for text in args.runs]
    check_comparable(runs)
    parts = _parts(args.part, runs[0].task)
    check_own(args.output / FILES[part] for part in parts)
    draw = {
        "thumbnails": lambda: draw_thumbnails(runs, args.output, args.images),
        "detections": lambda: draw_detections(runs, args.output, args.images, roles),
        "outcomes": lambda: draw_detections(runs, args.output, args.images, roles, "outcomes"),
        "saliency": lambda: draw_saliency(runs, args.output, args.images),
        "classified": lambda: draw_classified(runs, args.output, args.images, roles),
        "confusion": lambda: draw_confusion(runs, args.output),
        "super-resolved": lambda: draw_super_resolved(runs, args.output, args.images),
        "trade-off": lambda: draw_trade_off(runs, args.output),
        "gains": lambda: write_gains(runs, args.output),
    }
    for part in parts:
        if args.part == "all":
            print(f"drawing {part}", file=sys.stderr, flush=True)
        try:
            print(draw[part](), flush=True)
        except NothingToDrawError as error:
            if args.part != "all":
                raise
            print(f"left out: {error}", flush=True)


def _parts(wanted: str, task: str) -> Sequence[str]:
    """The figures to draw of runs of a task."""
    known = ALL.get(task, ("thumbnails",))
    there = (*known, *ALONE.get(task, ()))
    if wanted not in ("all", *there):
        raise ValueError(f"{wanted}: there is none of {task} runs, there are {', '.join(there)}")
    return known if wanted == "all" else (wanted,)
