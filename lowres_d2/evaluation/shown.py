"""Which metrics tables, plots and the console show: an evaluator says it in class attributes.

``main_metric`` is the one that models are compared by (``bbox/AP``), ``columns`` are those of a
table's row without the task (``AP``, ``AP50``), ``predictions`` is the file that it writes what was
predicted into. An evaluator without them, such as Detectron2's own, is taken for one of boxes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lowres_d2.evaluation.found_boxes import PREDICTIONS

from detectron2.utils.registry import locate
from omegaconf import DictConfig, OmegaConf


@dataclass(frozen=True)
class ShownMetrics:
    """The metrics of an evaluator that are shown.

    Attributes:
        task: key of its results, such as ``bbox``.
        columns: names of the metrics in a table's row; the main one comes first.
        size_ranges: names of the size ranges that the main metric is measured in as well, as
            ``AP-small``; empty where nothing has a size.
        predictions: name of the file of what was predicted.
    """

    task: str = "bbox"
    columns: tuple[str, ...] = ("AP", "AP50")
    size_ranges: tuple[str, ...] = ()
    predictions: str = PREDICTIONS

    @classmethod
    def of(cls, evaluator: Any) -> ShownMetrics:
        """What an evaluator says of itself."""
        task, main = getattr(evaluator, "main_metric", BOXES.names[0]).split("/", 1)
        more = getattr(evaluator, "columns", BOXES.columns)
        size_ranges = getattr(evaluator, "size_ranges", None)
        return cls(
            task,
            tuple(dict.fromkeys((main, *more))),
            () if size_ranges is None else size_ranges.names,
            getattr(evaluator, "predictions", BOXES.predictions),
        )

    @property
    def main(self) -> str:
        """Name of the main metric in its task, such as ``AP``."""
        return self.columns[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns by their whole names, such as ``bbox/AP``."""
        return tuple(f"{self.task}/{column}" for column in self.columns)

    def accuracy(self, results: Mapping[str, Mapping[str, float | None]]) -> float | None:
        """The main metric of an evaluation's results; None where there is no ground truth."""
        return results[self.task][self.main]


BOXES = ShownMetrics()


def task_of(cfg: DictConfig) -> str:
    """The task of a recipe's evaluator, which is not built: one of boxes wants labels."""
    target = OmegaConf.select(cfg, "dataloader.evaluator._target_")
    return ShownMetrics.of(locate(target) if isinstance(target, str) else target).task
