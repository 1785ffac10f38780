"""Evaluate one model at lower and lower resolutions: AP, MACs and speed.

The detector is the recipe's, with its weights; before it stands downsampling by each factor, the
recipe's own interpolation or else bicubic. An any-factor detector downsamples the images itself. A
detector that was trained on what another resampler makes of its images is refused: it would see
images that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lowres_d2.analysis.cost.comparison import Comparison, Measured, giga
from lowres_d2.analysis.cost.complexity import measure_complexity
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.meta_arch import AnyFactorDetector, AtFactor
from lowres_d2.modeling.resample import Downsampled, Identity
from lowres_d2.modeling.resample.interpolation import Interpolation
from lowres_d2.modeling.tiles import TiledDetector, untiled
from lowres_d2.programs.command_lines.sweep import parse
from lowres_d2.programs.variant_study import Study, Variant
from lowres_d2.programs.variants import run_program
from lowres_d2.structures import as_factor

from omegaconf import DictConfig
from tabulate import tabulate
from torch import nn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FACTORS = ("1", "2", "4", "8", "16", "32")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    run_program(parse(arguments), sweep)


def sweep(cfg: DictConfig, factors: Sequence[str] = (), quick: int = 0) -> dict[str, Comparison]:
    """Evaluate, count and time a recipe's detector at each resolution.

    Writes ``sweep.json``, ``sweep.md`` and ``sweep.png`` into the recipe's output folder, and what
    was detected into a folder for each factor.

    Args:
        cfg: the recipe, with ``train.init_checkpoint``.
        factors: by which the images are downsampled, the reference first; none for all that
            the detector was trained for, or those of the paper's Table 1.
        quick: number of images to evaluate on, as in :class:`Study`.

    Returns:
        By factor, compared with the first of them.

    Raises:
        ValueError: there are no weights, a factor is none or too large for an image, or the
            recipe's resampler is no plain downsampling.
    """
    study = Study(cfg, "sweep", quick)
    models = _models(study.model, factors)
    variants = {
        factor: Variant(_resolution(factor), f"resolution_{factor.replace('/', '_')}", model)
        for factor, model in models.items()
    }
    with study.claimed():
        images = study.images()
        measured = {
            factor: Measured(
                found.accuracy, measure_complexity(models[factor], images), found.timing
            )
            for factor, found in study.evaluate(variants, images).items()
        }
        full = next(iter(measured.values()))
        compared = {
            factor: Comparison(full, low, study.metric, study.machine)
            for factor, low in measured.items()
        }
        inputs = {factor: _input(model) for factor, model in models.items()}
        record = {
            f: comparison.record() | {"input": inputs[f]} for f, comparison in compared.items()
        }
        study.report(_table(compared, inputs, study.metric), record, lambda ax: _draw(ax, compared))
    return compared


def _models(model: nn.Module, factors: Sequence[str]) -> dict[str, nn.Module]:
    """The detector at each factor, which all of them share."""
    if isinstance(model, TiledDetector):
        return {f: model.around(part) for f, part in _models(model.detector, factors).items()}
    if isinstance(model, AnyFactorDetector):
        factors = factors or [str(factor) for factor in model.resampler.factors]
        return {factor: AtFactor(model, factor).eval() for factor in factors}
    resampler = model.resampler if isinstance(model, LowResDetector) else Identity()
    if not isinstance(resampler, Identity | Downsampled):
        raise ValueError(
            f"model.resampler is {type(resampler).__name__}, in whose place sweep would put plain "
            "downsampling, and the detector would see images that it was not trained on: give "
            "recipe and weights of a model with Identity or Bicubic; --eval-only evaluates this one"
        )
    interpolation = getattr(resampler, "interpolation", "bicubic")
    detector = model.detector if isinstance(model, LowResDetector) else model
    return {factor: _at(detector, factor, interpolation) for factor in factors or FACTORS}


def _at(detector: nn.Module, factor: str, interpolation: Interpolation) -> LowResDetector:
    resampler = Identity() if factor == "1" else Downsampled(factor, interpolation)
    return LowResDetector(detector, resampler).eval()


def _input(model: nn.Module) -> str:
    """What the detector sees: the image itself, or what makes its input."""
    part = untiled(model)
    if isinstance(part, AtFactor):
        by_factor = part.model.resampler.by_factor
        resampler = by_factor[str(as_factor(part.factor))]
    else:
        resampler = part.resampler
    if isinstance(resampler, Identity):
        return "image"
    return getattr(resampler, "interpolation", type(resampler).__name__)


def _resolution(factor: str) -> str:
    """1/4 for a factor of 4, 2/3 for one of 3/2."""
    ratio = 1 / as_factor(factor)
    return f"{ratio.numerator}/{ratio.denominator}"


def _table(compared: Mapping[str, Comparison], inputs: Mapping[str, str], metric: str) -> str:
    rows = [
        [
            _resolution(factor),
            inputs[factor],
            c.low.accuracy,
            c.drop_rate,
            giga(c.low.complexity.total_macs),
            c.low.timing.images_per_second,
            c.speedup,
        ]
        for factor, c in compared.items()
    ]
    return tabulate(
        rows,
        ["resolution", "input", metric, "drop, %", "MACs, G", "images/s", "faster"],
        tablefmt="github",
        floatfmt=("", "", ".2f", ".1f", "", ".2f", ".2f"),
        disable_numparse=[4],
        missingval="n/a",
    )


def _draw(ax: Axes, compared: Mapping[str, Comparison]) -> None:
    """Accuracy over images per second, a point for each resolution."""
    known = {f: c.low for f, c in compared.items() if c.low.accuracy is not None}
    speeds = [low.timing.images_per_second for low in known.values()]
    values = [low.accuracy for low in known.values()]
    ax.plot(speeds, values, marker="o")
    for factor, x, y in zip(known, speeds, values, strict=True):
        ax.annotate(_resolution(factor), (x, y), textcoords="offset points", xytext=(6, 6))
    ax.set(title="accuracy and speed by resolution", xlabel="images/s", xscale="log")
