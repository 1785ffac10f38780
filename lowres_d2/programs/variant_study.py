"""Variants of one trained detector, evaluated and timed: what ``sweep`` and ``tiles`` share.

Variants are the detector at several resolutions, say. Their weights are the same, so that each is
evaluated as it is, and all are timed in turns on the same images.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowres_d2.analysis.cost.latency import Timing, time_models
from lowres_d2.engine.compare import (
    COUNTED_IMAGES,
    evaluate_apart,
    first_images,
    images_to_time,
    machine,
    metric_of,
)
from lowres_d2.engine.evaluate import model_with_weights, take_sample
from lowres_d2.engine.run_folder import claimed
from lowres_d2.engine.startup.metric import check_metric
from lowres_d2.fonts import plot_fonts, plot_text
from lowres_d2.modeling.tiles import LookedAt, counting_tiles
from lowres_d2.own_files import check_own, own_path
from lowres_d2.recipes.load import build

from omegaconf import DictConfig
from torch import nn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Variant:
    """One form of the detector.

    Attributes:
        title: in messages.
        folder: name of the folder for what it detects.
        model: in evaluation mode; weights are shared with the other variants.
    """

    title: str
    folder: str
    model: nn.Module


@dataclass(frozen=True)
class Evaluated:
    """What a variant reaches.

    Attributes:
        accuracy: the main metric in percent; None where there are no objects.
        timing: of images one at a time.
        looked_at: tiles, of the whole test set; None where none are chosen.
    """

    accuracy: float | None
    timing: Timing
    looked_at: LookedAt | None


class Study:
    """A recipe's detector with its weights, whose variants are evaluated and reported.

    Args:
        cfg: the recipe, with ``train.init_checkpoint``.
        name: of the program and its files: ``NAME.json``, ``NAME.md`` and ``NAME.png`` in the
            recipe's output folder.
        quick: evaluate on this many images, spread over the test set; 0 takes all. The metric's
            name then contains the number (``bbox_on_200/AP``), and the results go to a subfolder
            ``on_200``.

    Attributes:
        model: the recipe's, in evaluation mode.
        metric: name of what the variants are compared by.

    Raises:
        FileExistsError: one of the files exists, and no earlier run wrote it.
        FileNotFoundError: the weights or the data are missing.
        ValueError: there are no weights, or they do not fit.
    """

    def __init__(self, cfg: DictConfig, name: str, quick: int = 0) -> None:
        if not cfg.train.init_checkpoint:
            raise ValueError(f"{name} needs weights: train.init_checkpoint=FILE")
        self._cfg, self._name = cfg, name
        self._run_folder = cfg.train.output_dir  # a sample's is below it
        if not quick:
            self._check_files()
        self.model, report = model_with_weights(cfg)
        logger.info("%s", report)
        self._wanted = self.metric = cfg.train.best.val_metric
        if quick:
            self.metric = self._wanted.replace("/", f"_{take_sample(cfg, quick)}/", 1)
            self._check_files()  # only a sample of the data says how many images it has
        check_metric(cfg, build(cfg, "dataloader.evaluator"))

    @property
    def machine(self) -> str:
        """The device on which variants are timed."""
        return machine(self.model)

    def claimed(self) -> contextlib.AbstractContextManager[Any]:
        """The run's folder, held against other runs while the block evaluates and reports."""
        return claimed(self._run_folder)

    def images(self) -> list[dict[str, Any]]:
        """The inputs whose costs are counted."""
        return first_images(build(self._cfg, "dataloader.test"), COUNTED_IMAGES)

    def evaluate(
        self, variants: Mapping[str, Variant], images: Sequence[dict[str, Any]]
    ) -> dict[str, Evaluated]:
        """Evaluate each variant, after all were timed.

        Args:
            variants: by any key.
            images: those of :meth:`images`.

        Returns:
            By the same keys.
        """
        models = {key: variant.model for key, variant in variants.items()}
        timings = time_models(models, images_to_time(images, self.model))
        found = {}
        for key, variant in variants.items():
            with counting_tiles(variant.model) as count:
                results = evaluate_apart(self._cfg, variant.model, variant.folder)
            accuracy = metric_of(results, self._wanted)
            looked_at = count() if count().of else None
            found[key] = Evaluated(accuracy, timings[key], looked_at)
            shown = "n/a" if accuracy is None else f"{accuracy:.2f}"
            logger.info("%s: %s %s", variant.title, self.metric, shown)
        return found

    def report(
        self,
        table: str,
        record: Mapping[str, Any],
        draw: Callable[[Axes], None],
    ) -> None:
        """Write the study's three files.

        Args:
            table: for people.
            record: for programs.
            draw: draws the variants' accuracy in percent over what it costs.
        """
        logger.info("%s", table)
        with own_path(self._file("md")) as part:
            part.write_text(f"{table}\n", encoding="utf-8")
        with own_path(self._file("json")) as part:
            part.write_text(json.dumps(record, indent=1), encoding="utf-8")
        plot_accuracy(self._file("png"), self.metric, draw)

    def _file(self, kind: str) -> Path:
        return Path(self._cfg.train.output_dir, f"{self._name}.{kind}")

    def _check_files(self) -> None:
        check_own(map(self._file, ("json", "md", "png")))


def plot_accuracy(path: Path, metric: str, draw: Callable[[Axes], None]) -> None:
    """A figure of one metric, in percent.

    Args:
        path: PNG to write.
        metric: its name, which may be that of a class.
        draw: draws points and names the x axis.
    """
    # Not through pyplot, which keeps figures alive and may want a display.
    from matplotlib.figure import Figure

    with plot_fonts([metric]):
        figure = Figure(figsize=(5.5, 3.8), layout="constrained")
        ax = figure.subplots()
        draw(ax)
        ax.set(ylabel=f"{plot_text(metric)}, %", ylim=(0, None))
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    with own_path(path) as part:
        figure.savefig(part, dpi=130)
