"""Accuracy against images per second and against MACs (ThumbDet, Fig. 1)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lowres_d2.analysis.cost.complexity import measure_complexity
from lowres_d2.analysis.cost.latency import time_models
from lowres_d2.fonts import plot_fonts, plot_text
from lowres_d2.own_files import own_path

import numpy as np
from torch import nn

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = "osD^vPX*"


@dataclass(frozen=True)
class Point:
    """One detector of the figure.

    Attributes:
        name: its label in the figure.
        accuracy: AP, or another metric in percent; with several seeds, their mean.
        images_per_second: None where it was not measured.
        macs: MACs per image; None where they were not counted.
        accuracy_std: standard deviation of the accuracy over seeds.
        series: points of one series, such as the factors of one checkpoint, have one colour and
            are joined by a line; empty: the point belongs to none.
        ops: OPs per image, fewer than MACs where layers have few bits; None: they are the MACs.
        memory: bytes of the parameters; None where they were not counted.
    """

    name: str
    accuracy: float
    images_per_second: float | None = None
    macs: float | None = None
    accuracy_std: float | None = None
    series: str = ""
    ops: float | None = None
    memory: float | None = None

    @property
    def has_low_bits(self) -> bool:
        """Whether OPs are fewer than MACs."""
        return self.operations != self.macs

    @property
    def operations(self) -> float | None:
        """OPs per image; None where they were not counted."""
        return self.macs if self.ops is None else self.ops


def points_of_comparisons(evaluations: Mapping[str, str | Path]) -> list[Point]:
    """Points of the comparisons that ``--eval-only`` wrote; the full-resolution model comes first.

    Args:
        evaluations: name of each point to its ``evaluation.json``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file has no comparison, or one with another full-resolution model.
    """
    points: list[Point] = []
    for name, file in evaluations.items():
        path = Path(file)
        if not path.is_file():
            raise FileNotFoundError(f"no evaluation at {path}: run train_net.py --eval-only")
        found = json.loads(path.read_text(encoding="utf-8")).get("comparison")
        if not found:
            raise ValueError(
                f"{path} has no comparison: run train_net.py --eval-only on a recipe with a teacher"
            )
        if not points:
            points.append(_point("full resolution", found["full_resolution"]))
        elif points[0].accuracy != found["full_resolution"]["accuracy"]:
            raise ValueError(
                f"{path} was compared with a full-resolution model of "
                f"{found['metric'].split('/')[-1]} {found['full_resolution']['accuracy']}, the "
                f"others with {points[0].accuracy}: compare all with the same one"
            )
        points.append(_point(name, found["low_resolution"]))
    return points


def _point(name: str, measured: Mapping) -> Point:
    return Point(
        name,
        measured["accuracy"],
        measured["images_per_second"],
        measured["macs"],
        ops=measured.get("ops"),  # older files have none
        memory=measured.get("memory"),
    )


def measure_points(
    models: Mapping[str, nn.Module],
    accuracies: Mapping[str, float],
    images: Sequence[dict],
    timed: Sequence[dict] | None = None,
    rounds: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Point]:
    """Count the MACs of models and time them on the same images, one at a time and in turns.

    Args:
        models: trained models by name; untrained ones have no detections to post-process.
        accuracies: in percent by name.
        images: Detectron2 inputs that MACs are counted on.
        timed: those that the models are timed on; None: all.
        rounds: how often each image is timed.
        clock: see :func:`lowres_d2.analysis.cost.latency.time_models`.
    """
    timings = time_models(models, images if timed is None else timed, rounds, clock)
    points = []
    for name, model in models.items():
        found = measure_complexity(model, images)
        points.append(
            Point(
                name,
                accuracies[name],
                timings[name].images_per_second,
                found.total_macs,
                ops=found.total_ops,
                memory=found.memory.total,
            )
        )
    return points


def plot_trade_off(
    points: Sequence[Point], path: str | Path, note: str = "", metric: str = "AP"
) -> Path:
    """Draw accuracy against images per second and MACs; a panel has the points that have both.

    Where a model has layers of few bits, OPs take the place of MACs.

    Args:
        points: the detectors, in the order of the legend.
        path: PNG to write.
        note: text below the figure, such as the machine that the speed was measured on.
        metric: name of the accuracy.

    Returns:
        The path.

    Raises:
        ValueError: no point has images per second or MACs.
    """
    unit = "OPs" if any(point.has_low_bits for point in points) else "MACs"
    panels = {
        "images per second": [(p, p.images_per_second) for p in points if p.images_per_second],
        f"{unit} per image, G": [(p, p.operations / 1e9) for p in points if p.operations],
    }
    panels = {title: placed for title, placed in panels.items() if placed}
    if not panels:
        raise ValueError("trade-off: none of the points has images_per_second or macs")
    with plot_fonts(name for point in points for name in (point.name, point.series)):
        figure = _figure(panels, points, note, metric)
    with own_path(path) as part:
        figure.savefig(part, dpi=130)
    return Path(path)


def _figure(
    panels: Mapping[str, Sequence[tuple[Point, float]]],
    points: Sequence[Point],
    note: str,
    metric: str,
) -> Figure:
    # Not through pyplot, which keeps figures alive and may want a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(panels) + 3.2, 4.0), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    for ax, (title, placed) in zip(axes, panels.items(), strict=True):
        _draw_panel(ax, placed, _styles(points), metric)
        ax.set_xlabel(title)
    axes[0].set_ylabel(f"{metric}, %")
    lines: dict[str, Artist] = {}
    for ax in axes:
        lines |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(
        lines.values(), lines, loc="outside right center", frameon=False, labelspacing=0.9
    )
    if note:
        figure.supxlabel(note, fontsize=9, color="0.4")
    return figure


def _styles(points: Iterable[Point]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each series, and of each point that belongs to none."""
    keys = dict.fromkeys(point.series or point.name for point in points)
    return {key: (f"C{k % 10}", _MARKS[k % len(_MARKS)]) for k, key in enumerate(keys)}


def _draw_panel(
    ax: Axes,
    placed: Sequence[tuple[Point, float]],
    styles: Mapping[str, tuple[str, str]],
    metric: str,
) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    for key, (color, mark) in styles.items():
        members = [(x, p) for p, x in placed if (p.series or p.name) == key]
        if not members:
            continue
        members.sort(key=lambda member: member[0])
        x, found = zip(*members, strict=True)
        spread = [p.accuracy_std or 0.0 for p in found]
        ax.errorbar(
            x,
            [p.accuracy for p in found],
            spread if any(spread) else None,
            label=plot_text(key) + ("" if found[0].series else f"\n{_metrics(found[0], metric)}"),
            linestyle="-" if found[0].series else "",
            color=color,
            marker=mark,
            markersize=9,
            markeredgecolor="white",
            capsize=4,
        )
        below = found[0].accuracy < found[-1].accuracy  # where the line is not
        for value, point in members:
            if point.series:
                style = {"textcoords": "offset points", "color": color, "fontsize": 9}
                place = value, point.accuracy
                ax.annotate(plot_text(point.name), place, (7, -13 if below else 6), **style)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    # Short log axes would label their minor ticks, too.
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.margins(0.12)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)


def speed(images_per_second: float) -> str:
    """Images per second with three digits, or from a thousand on without decimals."""
    number = images_per_second
    return f"{number:.3g}" if number < 999.5 else f"{number:,.0f}"


def _metrics(point: Point, metric: str) -> str:
    spread = "" if point.accuracy_std is None else f" ± {point.accuracy_std:.1f}"
    parts = [f"{metric} {point.accuracy:.1f}{spread}"]
    if point.images_per_second:
        parts.append(f"{speed(point.images_per_second)}/s")
    if point.operations:
        parts.append(f"{point.operations / 1e9:.3g} G")
    return ", ".join(parts)
