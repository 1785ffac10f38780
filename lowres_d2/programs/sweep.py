"""Evaluate one model at lower and lower resolutions: AP, MACs and speed.

The detector is the recipe's, with its full-resolution weights; before it stands bicubic
downsampling by each factor, whatever resampler the recipe has. An any-factor detector downsamples
the images itself.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lowres_d2.analysis.cost.comparison import Comparison, Measured, giga
from lowres_d2.analysis.cost.complexity import measure_complexity
from lowres_d2.analysis.cost.latency import time_models
from lowres_d2.engine.compare import (
    COUNTED_IMAGES,
    evaluate_apart,
    first_images,
    images_to_time,
    machine,
    metric_of,
)
from lowres_d2.engine.evaluate import model_with_weights, take_sample
from lowres_d2.engine.processes.log_files import logging_to
from lowres_d2.engine.run_folder import claimed
from lowres_d2.engine.startup.metric import check_metric
from lowres_d2.fonts import plot_fonts, plot_text
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.meta_arch import AnyFactorDetector, AtFactor
from lowres_d2.modeling.resample import Bicubic, Identity
from lowres_d2.modeling.tiles import TiledDetector
from lowres_d2.own_files import check_own, own_path
from lowres_d2.programs.command import summary_of
from lowres_d2.programs.key_values import move_overrides
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.parser import Parser
from lowres_d2.recipes.load import build, load_recipe
from lowres_d2.structures import as_factor

from omegaconf import DictConfig
from tabulate import tabulate
from torch import nn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)

FACTORS = ("1", "2", "4", "8", "16", "32")


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=summary_of(__file__))
    parser.add_argument(
        "--config-file", required=True, metavar="RECIPE", help="recipe of the detector and the data"
    )
    parser.add_argument(
        "--factors",
        nargs="+",
        default=(),
        help=f"downsampling factors, the first is the reference; default {' '.join(FACTORS)}, "
        "or those of an any-factor detector",
    )
    parser.add_argument(
        "--quick",
        type=int,
        default=0,
        metavar="N",
        help="evaluate on N images (200, say) spread over the test set; the metric's name says so",
    )
    parser.add_argument(
        "opts",
        nargs="*",
        metavar="KEY=VALUE",
        help="key=value; train.init_checkpoint=FILE is needed",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = make_parser()
    args = parser.parse_intermixed_args(arguments)
    if args.quick < 0:
        parser.error(f"--quick {args.quick}: expected a number of images")
    move_overrides(args, "factors")
    run_reporting_mistakes(
        lambda: _run(load_recipe(args.config_file, args.opts), args.factors, args.quick)
    )


def _run(cfg: DictConfig, factors: Sequence[str], quick: int) -> None:
    with logging_to(cfg.train.output_dir):
        sweep(cfg, factors, quick)


def sweep(cfg: DictConfig, factors: Sequence[str] = (), quick: int = 0) -> dict[str, Comparison]:
    """Evaluate, count and time a recipe's detector at each resolution.

    Writes ``sweep.json``, ``sweep.md`` and ``sweep.png`` into the recipe's output folder, and what
    was detected into a folder for each factor.

    Args:
        cfg: the recipe, with ``train.init_checkpoint``.
        factors: by which the images are downsampled, the reference first; none for all that
            the detector was trained for, or those of the paper's Table 1.
        quick: evaluate on this many images, spread over the test set; 0 takes all. The metric's
            name then contains the number (``bbox_on_200/AP``), and the results go to a subfolder
            ``on_200``.

    Returns:
        By factor, compared with the first of them.

    Raises:
        ValueError: there are no weights, or a factor is none or too large for an image.
    """
    if not cfg.train.init_checkpoint:
        raise ValueError("a sweep needs weights: train.init_checkpoint=FILE")
    run_folder = cfg.train.output_dir  # a sample's is below it
    if not quick:
        _check_files(cfg)
    model, report = model_with_weights(cfg)
    logger.info("%s", report)
    sample = take_sample(cfg, quick) if quick else ""
    if quick:
        _check_files(cfg)  # only a sample of the data says how many images it has
    check_metric(cfg, build(cfg, "dataloader.evaluator"))
    models = _models(model, factors)
    with claimed(run_folder):
        return _measure(cfg, models, sample)


def _check_files(cfg: DictConfig) -> None:
    check_own(Path(cfg.train.output_dir, f"sweep.{kind}") for kind in ("json", "md", "png"))


def _measure(
    cfg: DictConfig, models: Mapping[str, nn.Module], sample: str
) -> dict[str, Comparison]:
    wanted = cfg.train.best.val_metric
    metric = wanted.replace("/", f"_{sample}/", 1) if sample else wanted
    images = first_images(build(cfg, "dataloader.test"), COUNTED_IMAGES)
    timings = time_models(models, images_to_time(images, next(iter(models.values()))))
    measured = {}
    for factor, smaller in models.items():
        accuracy = metric_of(evaluate_apart(cfg, smaller, _folder(factor)), wanted)
        complexity = measure_complexity(smaller, images)
        measured[factor] = Measured(accuracy, complexity, timings[factor])
        shown = "n/a" if accuracy is None else f"{accuracy:.2f}"
        logger.info("%s: %s %s", _resolution(factor), metric, shown)
    full, place = next(iter(measured.values())), machine(next(iter(models.values())))
    found = {f: Comparison(full, low, metric, place) for f, low in measured.items()}
    _write(Path(cfg.train.output_dir), found, metric)
    return found


def _models(model: nn.Module, factors: Sequence[str]) -> dict[str, nn.Module]:
    """The detector at each factor, which all of them share."""
    if isinstance(model, TiledDetector):
        return {f: model.around(part) for f, part in _models(model.detector, factors).items()}
    if isinstance(model, AnyFactorDetector):
        factors = factors or [str(factor) for factor in model.resampler.factors]
        return {factor: AtFactor(model, factor).eval() for factor in factors}
    detector = model.detector if isinstance(model, LowResDetector) else model
    return {factor: _at(detector, factor) for factor in factors or FACTORS}


def _at(detector: nn.Module, factor: str) -> LowResDetector:
    return LowResDetector(detector, Identity() if factor == "1" else Bicubic(factor)).eval()


def _resolution(factor: str) -> str:
    """1/4 for a factor of 4, 2/3 for one of 3/2."""
    ratio = 1 / as_factor(factor)
    return f"{ratio.numerator}/{ratio.denominator}"


def _folder(factor: str) -> str:
    return f"resolution_{factor.replace('/', '_')}"


def _write(folder: Path, found: Mapping[str, Comparison], metric: str) -> None:
    rows = [
        [
            _resolution(factor),
            c.low.accuracy,
            c.drop_rate,
            giga(c.low.complexity.total_macs),
            c.low.timing.images_per_second,
            c.speedup,
        ]
        for factor, c in found.items()
    ]
    head = ["resolution", metric, "drop, %", "MACs, G", "images/s", "faster"]
    table = tabulate(
        rows,
        head,
        tablefmt="github",
        floatfmt=("", ".2f", ".1f", "", ".2f", ".2f"),
        disable_numparse=[3],
        missingval="n/a",
    )
    logger.info("%s", table)
    with own_path(folder / "sweep.md") as part:
        part.write_text(f"{table}\n", encoding="utf-8")
    with own_path(folder / "sweep.json") as part:
        record = {factor: c.record() for factor, c in found.items()}
        part.write_text(json.dumps(record, indent=1), encoding="utf-8")
    _plot(folder / "sweep.png", found, metric)


def _plot(path: Path, found: Mapping[str, Comparison], metric: str) -> None:
    """Accuracy over images per second, a point for each resolution."""
    # Not through pyplot, which keeps figures alive and may want a display.
    from matplotlib.figure import Figure

    with plot_fonts([metric]):  # which may be that of a class
        figure = Figure(figsize=(5.5, 3.8), layout="constrained")
        ax = figure.subplots()
        _draw(ax, found, metric)
    with own_path(path) as part:
        figure.savefig(part, dpi=130)


def _draw(ax: Axes, found: Mapping[str, Comparison], metric: str) -> None:
    known = {f: c.low for f, c in found.items() if c.low.accuracy is not None}
    speeds = [low.timing.images_per_second for low in known.values()]
    values = [low.accuracy for low in known.values()]
    ax.plot(speeds, values, marker="o")
    for factor, x, y in zip(known, speeds, values, strict=True):
        ax.annotate(_resolution(factor), (x, y), textcoords="offset points", xytext=(6, 6))
    ax.set(title="accuracy and speed by resolution", xlabel="images/s")
    ax.set_ylabel(f"{plot_text(metric)}, %")
    ax.set(xscale="log", ylim=(0, None))
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
