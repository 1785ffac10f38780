"""What a report says of runs of one task, apart from their training and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowres_d2.analysis.gains import Predicted
from lowres_d2.analysis.run import Run


class Findings:
    """Results of runs that were evaluated on one test set; a subclass for each task.

    Attributes:
        kind: what one of the models is called.
        columns: metrics of the overall table.
    """

    kind: str
    columns: tuple[str, ...]

    def __init__(self, runs: Sequence[Run], dataset: Sequence[Mapping]) -> None:
        """
        Args:
            runs: evaluated on the same data set.
            dataset: that they were evaluated on.

        Raises:
            ValueError: the runs were evaluated with different settings or on different data.
        """
        self.runs, self.dataset = runs, dataset

    @staticmethod
    def read(evaluator: Any, dataset: Sequence[Mapping], predictions_file: str | Path) -> Predicted:
        """What a run predicted on a data set, with its ground truth.

        Args:
            evaluator: of the run.
            dataset: that it evaluated.
            predictions_file: that it wrote.
        """
        raise NotImplementedError

    def about(self) -> str:
        """The paragraph below the report's heading: what the metrics are measured on."""
        raise NotImplementedError

    def overall(self) -> dict[str, Mapping[str, float | None]]:
        """Metrics of each run by their names, :attr:`columns` at least where it has them."""
        raise NotImplementedError

    def sections(self, folder: Path) -> list[str]:
        """Markdown of all sections but those of training and images; draws their figures."""
        raise NotImplementedError

    def images(self, folder: Path, number: int) -> list[str]:
        """Markdown of the section of images; draws ``images.png``.

        Args:
            folder: of the report.
            number: how many images are shown.
        """
        raise NotImplementedError
