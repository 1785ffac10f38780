"""By how much one detector is better than another, with what the choice of images leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lowres_d2.evaluation.bootstrap import DRAWS, draw_images, gain_interval, resampled_ap
from lowres_d2.evaluation.evaluated import Evaluated

import numpy as np
from tabulate import tabulate

EXPLANATION = (
    f"AP of the row's detector minus that of the column's, with its 95 % interval over {DRAWS} "
    "redraws of the test images, the same ones for both detectors. An interval without 0: the "
    "order is not these images' chance. How far it is the training's chance only further seeds "
    "tell."
)


def redrawn_ap(evaluated: Sequence[Evaluated]) -> list[np.ndarray]:
    """AP of detectors on the same redraws of one test set, see :func:`resampled_ap`."""
    draws = draw_images(len(evaluated[0].truth["images"]))
    return [resampled_ap(one, draws) for one in evaluated]


def gains_table(found: Mapping[str, np.ndarray]) -> str:
    """Markdown table: the gain of each detector over each one before it.

    Args:
        found: name to AP on the same redraws, two detectors at least.
    """
    names = list(found)
    rows = [
        [f"**{name}**", *(gain([found[name]], [found[other]]) for other in names[:k])]
        for k, name in enumerate(names)
        if k
    ]
    head = ["AP gain", *(f"over {name}" for name in names[:-1])]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def gain_sentence(
    ours: str, better: Sequence[Evaluated], baseline: str, worse: Sequence[Evaluated]
) -> str:
    """Markdown: the gain of a method over its baseline, each a mean over its seeds.

    Args:
        ours: name of the method.
        better: its evaluations, one for each seed.
        baseline: name of the baseline.
        worse: its evaluations.
    """
    found = redrawn_ap([*better, *worse])
    value = gain(found[: len(better)], found[len(better) :])
    return (
        f"**{ours}** against {baseline}: AP {value}, with its 95 % interval over {DRAWS} redraws "
        "of the test images, the same ones for both."
    )


def gain(better: Sequence[np.ndarray], worse: Sequence[np.ndarray]) -> str:
    """``+2.1 (+0.9 to +3.3)``: see :func:`gain_interval`."""
    value, low, high = gain_interval(better, worse)
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"
