"""What a report says of detectors: AP by size and class, precision, gains, confusions, images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lowres_d2.analysis.figures.comparison_sheets import (
    Column,
    choose_images,
    comparison_sheet,
    detected_column,
)
from lowres_d2.analysis.figures.confusion import confusions_table, plot_confusion
from lowres_d2.analysis.figures.curves import plot_by_size, plot_precision_recall
from lowres_d2.analysis.figures.sheets import save_sheet
from lowres_d2.analysis.findings.base import Findings
from lowres_d2.analysis.findings.tables import MOST_CLASSES, metric, table
from lowres_d2.analysis.gains import gains_tables, redrawn
from lowres_d2.analysis.run import Run
from lowres_d2.data.datasets import BoxDataset
from lowres_d2.evaluation.confusion import confusion_matrix
from lowres_d2.evaluation.evaluated import Evaluated
from lowres_d2.evaluation.precision_recall import precision_by_recall
from lowres_d2.evaluation.sized_coco import SUMMARY
from lowres_d2.evaluation.tables import why_not_all

_COLUMNS = ("AP", "AP50", "AP75", "AR", "recall50")


class BoxFindings(Findings):
    """Results of detectors, from what :class:`SizedCOCOEvaluator` wrote."""

    kind = "detector"

    def __init__(self, runs: Sequence[Run], dataset: BoxDataset) -> None:
        super().__init__(runs, dataset)
        self._summaries = {run.name: _summary(run) for run in runs}
        self._shown = runs[0].shown
        self.columns = tuple(dict.fromkeys((*_COLUMNS, *self._shown.columns)))
        _check_comparable(self._summaries)

    @staticmethod
    def read(evaluator: Any, dataset: BoxDataset, predictions_file: str | Path) -> Evaluated:
        """Detections with their ground truth, both as the evaluator counts them."""
        return evaluator.read(predictions_file)

    def about(self) -> str:
        """What the metrics are measured on."""
        agreed = self._any.get("labelled_by")
        said = f"**Agreement with the {agreed}; there is no ground truth.** " if agreed else ""
        return (
            f"{said}{self._any['images']} test images, {self._any['all']['GT']} objects. Metrics "
            "in percent. Size is the square root of the box's area in pixels of the original "
            f"image; at most {self._any['max_dets']} detections per image and class are scored."
        )

    def overall(self) -> dict[str, Mapping[str, float | None]]:
        """Metrics over all sizes and classes, with those that the evaluator is known for."""
        return {run.name: self._summaries[run.name]["all"] | _columns_of(run) for run in self.runs}

    def sections(self, folder: Path) -> list[str]:
        """By size and class, precision over recall, gains, confusions."""
        sizes = {name: summary["sizes"] for name, summary in self._summaries.items()}
        plot_by_size(sizes, folder / "by_size.png")
        curves = {
            name: {iou: precision_by_recall(one, iou) for iou in (0.5, 0.75)}
            for name, one in self._evaluated.items()
        }
        plot_precision_recall(curves, folder / "precision_recall.png")
        return [
            "## By object size",
            _size_range_table(self._summaries),
            why_not_all(self._any["size_ranges"], self._any["all"]["GT"]),
            "![AP and recall by size](by_size.png)",
            "Grey bars: number of objects.",
            "## By class",
            _class_table(self._summaries),
            "## Precision and recall",
            "![precision over recall](precision_recall.png)",
            "Mean over the classes; the area under a curve is AP at that IoU.",
            *self._gains(),
            *self._confusions(folder),
        ]

    def images(self, folder: Path, number: int) -> list[str]:
        """Ground truth beside the detections of each run."""
        truth = Column("ground truth", view=self.runs[0].stored)
        columns = [truth, *(column for column, _ in self._columns.values())]
        chosen = choose_images(self.dataset, number)
        save_sheet(comparison_sheet(chosen, columns, self.dataset.classes), folder / "images.png")
        drawn = ", ".join(f"{name} {limit:.2f}" for name, (_, limit) in self._columns.items())
        return [
            "Ground truth, then the pixels that each detector receives, with its detections; below "
            "each image its tiniest objects, zoomed. Dashed: missed objects. Detections are drawn "
            f"at or above the score threshold of best F1 on this test set: {drawn}.",
            "![ground truth and detections](images.png)",
        ]

    @property
    def _any(self) -> dict:
        """A summary, for what is equal in all."""
        return next(iter(self._summaries.values()))

    @cached_property
    def _evaluated(self) -> dict[str, Evaluated]:
        return {
            run.name: self.read(run.evaluator, self.dataset, run.predictions_file)
            for run in self.runs
        }

    @cached_property
    def _columns(self) -> dict[str, tuple[Column, float]]:
        """Detections to draw, and the threshold that they reach."""
        return {
            run.name: detected_column(run.name, run.predictions_file, self.dataset, run.view)
            for run in self.runs
        }

    def _gains(self) -> list[str]:
        """The section that compares each two runs, with intervals; none of a single run."""
        if len(self.runs) < 2:
            return []
        found = dict(zip(self._evaluated, redrawn(list(self._evaluated.values())), strict=True))
        return [
            "## Which differences are more than chance",
            *gains_tables(found, self._shown.main, self.kind),
        ]

    def _confusions(self, folder: Path) -> list[str]:
        """The section of classes that are taken for others: a figure, of many classes a table."""
        matrices = {
            name: confusion_matrix(one, self._columns[name][1])
            for name, one in self._evaluated.items()
        }
        explained = (
            "Detections at or above the score threshold of best F1, matched with objects of any "
            "class at IoU 0.5 or more."
        )
        classes = self.dataset.classes
        if len(classes) > MOST_CLASSES:
            shown = f"Most frequent confusions. {explained}"
            return ["## Confusions", shown, confusions_table(matrices, classes)]
        plot_confusion(matrices, classes, folder / "confusion.png")
        shown = f"{explained} Rows in percent: what became of the objects of a class."
        return ["## Confusions", "![confusion matrices](confusion.png)", shown]


def _columns_of(run: Run) -> dict[str, float | None]:
    results = run.results[run.shown.task]
    return {key: results[key] for key in run.shown.columns if key in results}


def _summary(run: Run) -> dict:
    """The content of its ``sized_coco.json``."""
    path = Path(run.predictions_file).with_name(SUMMARY)
    return json.loads(path.read_text(encoding="utf-8"))


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


def _size_range_table(summaries: Mapping[str, dict]) -> str:
    size_ranges = next(iter(summaries.values()))["size_ranges"]
    rows = []
    for key in ("AP", "AP50", "AR", "recall50"):
        if key in size_ranges[0]:
            rows += [
                [f"{key}, {name}", *(metric(row[key]) for row in summary["size_ranges"])]
                for name, summary in summaries.items()
            ]
    return table(["", *(f"{row['label']}, {row['GT']} GT" for row in size_ranges)], rows)


def _class_table(summaries: Mapping[str, dict]) -> str:
    classes = next(iter(summaries.values()))["classes"]
    rows = [
        [row["name"], row["GT"], *(metric(s["classes"][k]["AP"]) for s in summaries.values())]
        for k, row in enumerate(classes)
    ]
    shown = table(["class", "GT", *(f"AP, {name}" for name in summaries)], rows[:MOST_CLASSES])
    left_out = len(rows) - MOST_CLASSES
    return shown + (f"\n\n{left_out} more classes are in sized_coco.json." if left_out > 0 else "")
