"""By how much one model is better than another, with what the choice of images leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from lowres_d2.evaluation.bootstrap import DRAWS, draw_images, gain_interval

import numpy as np
from tabulate import tabulate


class Predicted(Protocol):
    """What was predicted on a test set, beside its ground truth."""

    num_images: int

    def redrawn(self, draws: np.ndarray) -> np.ndarray:
        """The main metric in percent, (1 + B,), of the whole set and of B redraws of its images.

        Args:
            draws: (B, images): indices of images in the order of their ids.
        """


def redrawn(predicted: Sequence[Predicted]) -> list[np.ndarray]:
    """The main metric of models on the same redraws of one test set."""
    draws = draw_images(predicted[0].num_images)
    return [one.redrawn(draws) for one in predicted]


def explanation(metric: str, kind: str) -> str:
    """What a table of gains says.

    Args:
        metric: name of the main metric.
        kind: what a model is called, such as detector.
    """
    return (
        f"{metric} of the row's {kind} minus that of the column's, with its 95 % interval over "
        f"{DRAWS} redraws of the test images, the same ones for both {kind}s. An interval without "
        "0: the order is not these images' chance. How far it is the training's chance only "
        "further seeds tell."
    )


def gains_table(found: Mapping[str, np.ndarray], metric: str) -> str:
    """Markdown table: the gain of each model over each one before it.

    Args:
        found: name to the metric on the same redraws, two models at least.
        metric: its name.
    """
    names = list(found)
    rows = [
        [f"**{name}**", *(gain([found[name]], [found[other]]) for other in names[:k])]
        for k, name in enumerate(names)
        if k
    ]
    head = [f"{metric} gain", *(f"over {name}" for name in names[:-1])]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def gain_sentence(
    ours: str,
    better: Sequence[Predicted],
    baseline: str,
    worse: Sequence[Predicted],
    metric: str,
) -> str:
    """Markdown: the gain of a method over its baseline, each a mean over its seeds.

    Args:
        ours: name of the method.
        better: what it predicted, one for each seed.
        baseline: name of the baseline.
        worse: what it predicted.
        metric: name of the main metric.
    """
    found = redrawn([*better, *worse])
    value = gain(found[: len(better)], found[len(better) :])
    return (
        f"**{ours}** against {baseline}: {metric} {value}, with its 95 % interval over {DRAWS} "
        "redraws of the test images, the same ones for both."
    )


def gain(better: Sequence[np.ndarray], worse: Sequence[np.ndarray]) -> str:
    """``+2.1 (+0.9 to +3.3)``: see :func:`gain_interval`."""
    value, low, high = gain_interval(better, worse)
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"
