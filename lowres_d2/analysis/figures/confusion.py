"""Draw confusion matrices, one panel for each detector or classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lowres_d2.fonts import drawable_names, plot_fonts, plot_text
from lowres_d2.own_files import own_path

import numpy as np
from tabulate import tabulate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 2
NUMBERED = 14  # classes up to which the cells have numbers
_CELL, _LEAST, _TITLE = 0.42, 3.6, 0.3  # inches


def plot_confusion(
    matrices: Mapping[str, np.ndarray], classes: Sequence[str], path: str | Path
) -> None:
    """Draw each matrix with its rows in percent: what became of the objects of a class.

    A detector's last row, detections where no object is, is in percent of all of them.

    Args:
        matrices: name to :func:`confusion_matrix`, or to a classifier's, which has no missed
            objects and no detections without one.
        classes: names in the order of the labels.
        path: image file to write.
    """
    classes = [plot_text(name) for name in drawable_names(classes)]
    with plot_fonts([*classes, *matrices]):
        figure = _figure(matrices, classes)
    with own_path(path) as part:
        figure.savefig(part, dpi=110)


def _figure(matrices: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    # Not through pyplot, which keeps figures alive and may want a display.
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(matrices))
    rows = -(-len(matrices) // columns)
    size = len(next(iter(matrices.values())))
    of_boxes = size > len(classes)
    found_as, truth = (
        ([*classes, "missed"], [*classes, "no object"]) if of_boxes else (classes, classes)
    )
    side = max(_LEAST, _CELL * size) + 1.4
    # Higher than wide, for the titles: the layout does not know that the cells stay square.
    figure = Figure(figsize=(columns * side, rows * (side + _TITLE)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(matrices) :]:
        ax.set_axis_off()
    for ax, (name, counts) in zip(axes, matrices.items(), strict=False):
        shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        ax.set_xticks(range(size), found_as, rotation=90)
        ax.set_yticks(range(size), truth)
        ax.tick_params(labelsize=8)
        word = "detected as" if of_boxes else "classified as"
        ax.set(title=plot_text(name), xlabel=word, ylabel="ground truth")
        if len(classes) <= NUMBERED:
            for (row, column), share in np.ndenumerate(shares):
                if counts[row, column]:
                    dark = share > 50
                    text = f"{share:.0f}"
                    ax.text(column, row, text, ha="center", va="center", fontsize=7,
                            color="white" if dark else "black")  # fmt: skip
    return figure


def confusions_table(
    matrices: Mapping[str, np.ndarray], classes: Sequence[str], most: int = 10
) -> str:
    """Markdown table of each model's most frequent confusions, for many classes."""
    columns = []
    for counts in matrices.values():
        between = counts[: len(classes), : len(classes)].copy()
        np.fill_diagonal(between, 0)
        order = np.argsort(-between, axis=None, kind="stable")[:most]
        pairs = [np.unravel_index(k, between.shape) for k in order]
        columns.append(
            [f"{classes[t]} as {classes[f]}: {between[t, f]}" for t, f in pairs if between[t, f]]
        )
    longest = max(map(len, columns))
    rows = zip(*(column + [""] * (longest - len(column)) for column in columns), strict=True)
    return tabulate(list(rows), list(matrices), tablefmt="github", disable_numparse=True)
