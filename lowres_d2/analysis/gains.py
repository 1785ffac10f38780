"""By how much one model is better than another, with what the choice of images leaves open.

The metrics are those that the models' evaluator redraws: its main one first, with the benchmark's
own rules. Where it does not redraw the main one, or few images have objects for a metric, a line
says so in place of an interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from lowres_d2.evaluation.bootstrap import DRAWS, FEWEST_IMAGES, draw_images, gain_interval

import numpy as np
from tabulate import tabulate


class Predicted(Protocol):
    """What was predicted on a test set, beside its ground truth."""

    num_images: int

    def redrawn(self, draws: np.ndarray) -> Mapping[str, np.ndarray]:
        """Metrics in percent, (1 + B,) each, of the whole set and of B redraws of its images.

        Args:
            draws: (B, images): indices of images in the order of their ids.
        """

    def informative_images(self, metric: str) -> int:
        """Number of images that have objects for one of these metrics."""


def redrawn(predicted: Sequence[Predicted]) -> list[Mapping[str, np.ndarray]]:
    """Metrics of models on the same redraws of one test set.

    On the redraws they are NaN where fewer than ``FEWEST_IMAGES`` images have objects: what these
    few have in common is no sign of what other images would give.
    """
    draws = draw_images(predicted[0].num_images)
    return [
        {
            metric: values
            if one.informative_images(metric) >= FEWEST_IMAGES
            else np.append(values[:1], np.full(len(draws), np.nan))
            for metric, values in one.redrawn(draws).items()
        }
        for one in predicted
    ]


def gains_tables(found: Mapping[str, Mapping[str, np.ndarray]], main: str, kind: str) -> list[str]:
    """Markdown: for each metric a table with the gain of each model over each one before it.

    Args:
        found: name to metrics on the same redraws, two models at least.
        main: name of their main metric.
        kind: what a model is called, such as detector.
    """
    metrics = _common(list(found.values()), main)
    tables = [
        _table({name: own[metric] for name, own in found.items()}, metric) for metric in metrics
    ]
    missing = [] if main in metrics else [_not_redrawn(main)]
    few = _with_few_images(list(found.values()), metrics)
    return [
        *missing,
        *tables,
        *([_explanation(metrics, kind, len(few) < len(metrics))] if metrics else []),
        *([_too_few(few)] if few else []),
    ]


def gain_sentence(
    ours: str,
    better: Sequence[Predicted],
    baseline: str,
    worse: Sequence[Predicted],
    main: str,
) -> str:
    """Markdown: the gain of a method over its baseline, each a mean over its seeds.

    Args:
        ours: name of the method.
        better: what it predicted, one for each seed.
        baseline: name of the baseline.
        worse: what it predicted.
        main: name of their main metric.
    """
    found = redrawn([*better, *worse])
    metrics = _common(found, main)
    missing = "" if main in metrics else f" {_not_redrawn(main)}"
    if not metrics:
        return f"**{ours}** against {baseline}.{missing}"
    columns = {metric: [own[metric] for own in found] for metric in metrics}
    number = len(better)
    gains = ", ".join(f"{m} {gain(rows[:number], rows[number:])}" for m, rows in columns.items())
    few = _with_few_images(found, metrics)
    intervals = "its 95 % interval" if len(metrics) == 1 else "their 95 % intervals"
    explained = (
        f", with {intervals} over {DRAWS} redraws of the test images, the same ones for both"
        if len(few) < len(metrics)
        else ""
    )
    too_few = f" {_too_few(few)}" if few else ""
    return f"**{ours}** against {baseline}: {gains}{explained}.{missing}{too_few}"


def gain(better: Sequence[np.ndarray], worse: Sequence[np.ndarray]) -> str:
    """``+2.1 (+0.9 to +3.3)``, or ``+2.1`` without an interval: see :func:`gain_interval`."""
    value, low, high = gain_interval(better, worse)
    if math.isnan(value):
        return "n/a"
    if math.isnan(low):
        return f"{value:+.1f}"
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def _common(found: Sequence[Mapping[str, np.ndarray]], main: str) -> list[str]:
    """Metrics that all models have, the main one first."""
    common = [metric for metric in found[0] if all(metric in own for own in found)]
    return sorted(common, key=lambda metric: metric != main)


def _not_redrawn(main: str) -> str:
    return f"{main} has no interval: its evaluator does not measure it on redraws of the images."


def _with_few_images(
    found: Sequence[Mapping[str, np.ndarray]], metrics: Sequence[str]
) -> list[str]:
    """Metrics that have no interval, since :func:`redrawn` found too few images for one."""
    return [m for m in metrics if any(np.isnan(own[m][1:]).all() for own in found)]


def _too_few(metrics: Sequence[str]) -> str:
    has = "has no interval: it rests" if len(metrics) == 1 else "have no intervals: they rest"
    return (
        f"{', '.join(metrics)} {has} on fewer than {FEWEST_IMAGES} test images, whose redraws say "
        "little of other images."
    )


def _explanation(metrics: Sequence[str], kind: str, has_intervals: bool) -> str:
    difference = f"{', '.join(metrics)} of the row's {kind} minus that of the column's"
    if not has_intervals:
        return f"{difference}."
    return (
        f"{difference}, with its 95 % interval over {DRAWS} redraws of the test images, the same "
        f"ones for both {kind}s. An interval without 0: the order is not these images' chance. How "
        "far it is the training's chance only further seeds tell."
    )


def _table(found: Mapping[str, np.ndarray], metric: str) -> str:
    names = list(found)
    rows = [
        [f"**{name}**", *(gain([found[name]], [found[other]]) for other in names[:k])]
        for k, name in enumerate(names)
        if k
    ]
    head = [f"{metric} gain", *(f"over {name}" for name in names[:-1])]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)
