"""A report that compares runs: ``report.md``, with its figures in the same folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lowres_d2.analysis.cost.accuracy_drop import accuracy_drop_rate
from lowres_d2.analysis.cost.trade_off import Point, plot_trade_off
from lowres_d2.analysis.figures.comparison_sheets import (
    Column,
    choose_images,
    comparison_sheet,
    detected_column,
)
from lowres_d2.analysis.figures.confusion import confusions_table, plot_confusion
from lowres_d2.analysis.figures.curves import (
    plot_by_size,
    plot_precision_recall,
    plot_training,
    read_metrics,
)
from lowres_d2.analysis.figures.sheets import save_sheet
from lowres_d2.analysis.figures.views import View, stored_view
from lowres_d2.analysis.gains import EXPLANATION, gains_table, redrawn_ap
from lowres_d2.data.datasets import BoxDataset
from lowres_d2.evaluation.confusion import confusion_matrix
from lowres_d2.evaluation.evaluated import Evaluated
from lowres_d2.evaluation.precision_recall import precision_by_recall
from lowres_d2.evaluation.sized_coco import SUMMARY
from lowres_d2.evaluation.tables import why_not_all
from lowres_d2.own_files import own_path

from tabulate import tabulate

NOT_THERE = "n/a (0 GT)"
MOST_CLASSES = 30  # rows of the table by class; nobody reads more


@dataclass(frozen=True)
class Run:
    """One trained and evaluated detector.

    Attributes:
        name: its label in tables and figures.
        results: what :class:`SizedCOCOEvaluator` returned.
        metrics_file: ``metrics.json`` of the training.
        predictions_file: ``coco_instances_results.json``; ``sized_coco.json`` lies beside it.
        iterations: total number of training iterations.
        seconds: time of training and evaluation; None where unknown.
        view: what its network receives of an image, see :func:`model_view`; by default the stored
            image.
        stored: the stored image, below the ground truth, see :func:`stored_view_of`.
        images_per_second: measured in turns with the other runs, see :func:`measure_points`.
        macs: MACs per image.
    """

    name: str
    results: Mapping[str, Mapping[str, float | None]]
    metrics_file: str | Path
    predictions_file: str | Path
    iterations: int
    seconds: float | None
    view: View = field(default=stored_view, compare=False)
    stored: View = field(default=stored_view, compare=False)
    images_per_second: float | None = None
    macs: float | None = None

    @property
    def summary(self) -> dict:
        """The content of ``sized_coco.json``."""
        path = Path(self.predictions_file).with_name(SUMMARY)
        return json.loads(path.read_text(encoding="utf-8"))


# What it writes into its folder.
REPORT_FILES = (
    "report.md",
    "training.png",
    "by_size.png",
    "precision_recall.png",
    "confusion.png",
    "trade_off.png",
    "images.png",
)


def write_report(
    output_dir: str | Path,
    runs: Sequence[Run],
    dataset: BoxDataset,
    title: str,
    notes: str = "",
    images: int = 4,
) -> Path:
    """Write ``report.md`` and its figures; ``trade_off.png`` only where speeds or MACs are known.

    Args:
        output_dir: folder for the report and its figures.
        runs: runs evaluated on the same data set; the AP drop is relative to the first one.
        dataset: data set that they were evaluated on.
        title: heading of the report.
        notes: Markdown below the heading.
        images: number of images that are shown with their detections.

    Returns:
        Path of ``report.md``.

    Raises:
        ValueError: the runs were evaluated with different settings or on different data.
    """
    folder = Path(output_dir)
    summaries = {run.name: run.summary for run in runs}
    _check_comparable(summaries)
    plot_training(
        {run.name: read_metrics(run.metrics_file) for run in runs}, folder / "training.png"
    )
    plot_by_size({name: s["sizes"] for name, s in summaries.items()}, folder / "by_size.png")
    points = [
        Point(run.name, summaries[run.name]["all"]["AP"] or 0.0, run.images_per_second, run.macs)
        for run in runs
    ]
    has_costs = any(point.images_per_second or point.macs for point in points)
    if has_costs:
        plot_trade_off(points, folder / "trade_off.png")
    evaluated = {run.name: Evaluated.read(dataset, run.predictions_file) for run in runs}
    curves = {
        name: {iou: precision_by_recall(one, iou) for iou in (0.5, 0.75)}
        for name, one in evaluated.items()
    }
    plot_precision_recall(curves, folder / "precision_recall.png")
    columns, thresholds = [], {}
    for run in runs:
        column, thresholds[run.name] = detected_column(
            run.name, run.predictions_file, dataset, run.view
        )
        columns.append(column)
    truth = Column("ground truth", view=runs[0].stored)
    sheet = comparison_sheet(choose_images(dataset, images), [truth, *columns], dataset.classes)
    save_sheet(sheet, folder / "images.png")
    sections = _gains(evaluated, summaries) + _confusions(evaluated, thresholds, dataset, folder)
    text = _markdown(title, notes, runs, summaries, thresholds, has_costs, sections)
    with own_path(folder / "report.md") as part:
        part.write_text(text, encoding="utf-8")
    return folder / "report.md"


def _check_comparable(summaries: Mapping[str, dict]) -> None:
    """Raise ValueError where metrics of two runs are not comparable."""
    (first, reference), *others = summaries.items()
    for name, summary in others:
        # maxDets alone changes AP: 300 perfect boxes an image get 34 at 100, 100 at 1500.
        for key in ("images", "max_dets", "area"):
            if summary[key] != reference[key]:
                raise ValueError(
                    f"runs {first!r} and {name!r} cannot be compared: {key} {reference[key]} and "
                    f"{summary[key]}; evaluate both with the same settings"
                )
        size_ranges = [
            [(row["name"], row["low"], row["high"], row["GT"]) for row in s["size_ranges"]]
            for s in (reference, summary)
        ]
        if size_ranges[0] != size_ranges[1]:
            raise ValueError(
                f"runs {first!r} and {name!r} cannot be compared: their size ranges or objects "
                "differ; evaluate both on the same data with the same size ranges"
            )


def _markdown(
    title: str,
    notes: str,
    runs: Sequence[Run],
    summaries: Mapping[str, dict],
    thresholds: Mapping[str, float],
    has_costs: bool,
    sections: Sequence[str],
) -> str:
    any_summary = next(iter(summaries.values()))
    drawn = ", ".join(f"{name} {limit:.2f}" for name, limit in thresholds.items())
    parts = [
        f"# {title}",
        notes.strip(),
        f"{any_summary['images']} test images, {any_summary['all']['GT']} objects. Metrics in "
        f"percent. Size is the square root of the box's area in pixels of the original image; "
        f"at most {any_summary['max_dets']} detections per image and class are scored.",
        _overall_table(runs, summaries),
        "![AP against images per second and MACs](trade_off.png)" if has_costs else "",
        "## By object size",
        _size_range_table(summaries),
        why_not_all(any_summary["size_ranges"], any_summary["all"]["GT"]),
        "![AP and recall by size](by_size.png)",
        "Grey bars: number of objects.",
        "## By class",
        _class_table(summaries),
        "## Precision and recall",
        "![precision over recall](precision_recall.png)",
        "Mean over the classes; the area under a curve is AP at that IoU.",
        *sections,
        "## Training",
        "![training loss and AP](training.png)",
        "## Images",
        "Ground truth, then the pixels that each detector receives, with its detections; below "
        "each image its tiniest objects, zoomed. Dashed: missed objects. Detections are drawn at "
        f"or above the score threshold of best F1 on this test set: {drawn}.",
        "![ground truth and detections](images.png)",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _gains(evaluated: Mapping[str, Evaluated], summaries: Mapping[str, dict]) -> list[str]:
    """The section that compares each two runs, with intervals; none of a single run."""
    if len(evaluated) < 2:
        return []
    found = dict(zip(evaluated, redrawn_ap(list(evaluated.values())), strict=True))
    for name, aps in found.items():
        # An evaluator with other IoU thresholds has another AP than COCO's.
        if abs(aps[0] - (summaries[name]["all"]["AP"] or 0.0)) > 0.01:
            return []
    return ["## Which differences are more than chance", gains_table(found), EXPLANATION]


def _confusions(
    evaluated: Mapping[str, Evaluated],
    thresholds: Mapping[str, float],
    dataset: BoxDataset,
    folder: Path,
) -> list[str]:
    """The section of classes that are taken for others: a figure, or of many classes a table."""
    matrices = {name: confusion_matrix(one, thresholds[name]) for name, one in evaluated.items()}
    explained = (
        "Detections at or above the score threshold of best F1, matched with objects of any class "
        "at IoU 0.5 or more."
    )
    if len(dataset.classes) > MOST_CLASSES:
        shown = f"Most frequent confusions. {explained}"
        return ["## Confusions", shown, confusions_table(matrices, dataset.classes)]
    plot_confusion(matrices, dataset.classes, folder / "confusion.png")
    shown = f"{explained} Rows in percent: what became of the objects of a class."
    return ["## Confusions", "![confusion matrices](confusion.png)", shown]


def _overall_table(runs: Sequence[Run], summaries: Mapping[str, dict]) -> str:
    found = [summaries[run.name]["all"] for run in runs]
    columns = {
        "detector": [run.name for run in runs],
        "iterations": [run.iterations for run in runs],
        "time": [_duration(run.seconds) for run in runs],
    }
    for key in ("AP", "AP50", "AP75", "AR", "recall50"):
        columns[key] = [_metric(row[key]) for row in found if key in row]
    first, *others = (row["AP"] for row in found)
    if first:
        drops = [f"{accuracy_drop_rate(first, ap):.1f}" for ap in others]
        columns["AP drop, %"] = ["", *drops]
    columns["MACs, G"] = [f"{run.macs / 1e9:.3g}" if run.macs else "" for run in runs]
    speeds = [run.images_per_second for run in runs]
    columns["images/s"] = [f"{speed:.3g}" if speed else "" for speed in speeds]
    known = {title: values for title, values in columns.items() if any(values)}
    return _table(list(known), [list(row) for row in zip(*known.values(), strict=True)])


def _size_range_table(summaries: Mapping[str, dict]) -> str:
    size_ranges = next(iter(summaries.values()))["size_ranges"]
    rows = []
    for key in ("AP", "AP50", "AR", "recall50"):
        if key in size_ranges[0]:
            rows += [
                [f"{key}, {name}", *(_metric(row[key]) for row in summary["size_ranges"])]
                for name, summary in summaries.items()
            ]
    return _table(["", *(f"{row['label']}, {row['GT']} GT" for row in size_ranges)], rows)


def _class_table(summaries: Mapping[str, dict]) -> str:
    classes = next(iter(summaries.values()))["classes"]
    rows = [
        [row["name"], row["GT"], *(_metric(s["classes"][k]["AP"]) for s in summaries.values())]
        for k, row in enumerate(classes)
    ]
    shown = _table(["class", "GT", *(f"AP, {name}" for name in summaries)], rows[:MOST_CLASSES])
    left_out = len(rows) - MOST_CLASSES
    return shown + (f"\n\n{left_out} more classes are in sized_coco.json." if left_out > 0 else "")


def _table(head: list[str], rows: list[list]) -> str:
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def _metric(value: float | None) -> str:
    return NOT_THERE if value is None else f"{value:.1f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
