"""What a report says of classifiers: accuracy by class, gains, confusions, images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowres_d2.analysis.figures.classified_images import (
    Classifier,
    disagreements,
    even_group,
    write_classified,
)
from lowres_d2.analysis.figures.confusion import confusions_table, plot_confusion
from lowres_d2.analysis.findings.base import Findings
from lowres_d2.analysis.findings.tables import MOST_CLASSES, metric, table
from lowres_d2.analysis.gains import gains_tables, redrawn
from lowres_d2.analysis.run import Run
from lowres_d2.evaluation.bootstrap import FEWEST_IMAGES
from lowres_d2.evaluation.classified import Classified


class ClassFindings(Findings):
    """Results of classifiers, from what :class:`ClassificationEvaluator` wrote."""

    kind = "classifier"

    def __init__(self, runs: Sequence[Run], dataset: Sequence[Mapping]) -> None:
        super().__init__(runs, dataset)
        self.columns, self._main = runs[0].shown.columns, runs[0].shown.main
        self._predicted = {
            run.name: self.read(run.evaluator, dataset, run.predictions_file) for run in runs
        }

    @staticmethod
    def read(
        evaluator: Any, dataset: Sequence[Mapping], predictions_file: str | Path
    ) -> Classified:
        """Predicted classes with the labels."""
        return Classified.read(dataset, predictions_file)

    def about(self) -> str:
        """What the metrics are measured on, and how far they can be trusted."""
        counted = (
            f"{len(self.dataset)} test images, {len(self.dataset.classes)} classes. Metrics in "
            "percent; "
        )
        if len(self.dataset) < FEWEST_IMAGES:
            return f"{counted}so few images give {self._main} no standard error."
        errors = [_standard_error(one) for one in self._predicted.values()]
        return (
            f"{counted}the standard error of {self._main} over images is at most {max(errors):.2f}."
        )

    def overall(self) -> dict[str, Mapping[str, float | None]]:
        """Metrics over all classes."""
        return {run.name: run.results[run.shown.task] for run in self.runs}

    def sections(self, folder: Path) -> list[str]:
        """By class, gains, confusions."""
        return ["## By class", self._by_class(), *self._gains(), *self._confusions(folder)]

    def images(self, folder: Path, number: int) -> list[str]:
        """Test images with what each classifier takes them for."""
        shown = [Classifier(run.name, self._predicted[run.name], run.view) for run in self.runs]
        groups = [even_group(len(self.dataset), 2 * number)]  # they are small
        if len(shown) > 1:
            groups.append(disagreements(shown, 2 * number))
        path, classes = folder / "images.png", self.dataset.classes
        write_classified(path, self.dataset, shown, classes, groups, self.runs[0].stored)
        return [
            "The stored image with its true class, then the pixels that each classifier receives, "
            "with the class that it takes the image for and that class's probability.",
            "![classified images](images.png)",
        ]

    def _by_class(self) -> str:
        by_class = [one.by_class() for one in self._predicted.values()]
        rows = [
            [name, found[0][0], *(metric(share) for _, share in found)]
            for name, *found in zip(self.dataset.classes, *by_class, strict=True)
        ]
        head = ["class", "images", *(f"{self._main}, {name}" for name in self._predicted)]
        left_out = len(rows) - MOST_CLASSES
        more = f"\n\n{left_out} more classes are in evaluation.json." if left_out > 0 else ""
        return table(head, rows[:MOST_CLASSES]) + more

    def _gains(self) -> list[str]:
        """The section that compares each two runs, with intervals; none of a single run."""
        if len(self.runs) < 2:
            return []
        found = redrawn(list(self._predicted.values()))
        return [
            "## Which differences are more than chance",
            *gains_tables(dict(zip(self._predicted, found, strict=True)), self._main, self.kind),
        ]

    def _confusions(self, folder: Path) -> list[str]:
        """The section of classes that are taken for others: a figure, of many classes a table."""
        matrices = {name: one.confusion() for name, one in self._predicted.items()}
        classes = self.dataset.classes
        if len(classes) > MOST_CLASSES:
            shown = confusions_table(matrices, classes)
            return ["## Confusions", "Most frequent confusions, numbers of images.", shown]
        plot_confusion(matrices, classes, folder / "confusion.png")
        shown = "Rows in percent: what the images of a class are taken for."
        return ["## Confusions", "![confusion matrices](confusion.png)", shown]


def _standard_error(predicted: Classified) -> float:
    share = predicted.right.mean()
    return 100 * math.sqrt(share * (1 - share) / predicted.num_images)
