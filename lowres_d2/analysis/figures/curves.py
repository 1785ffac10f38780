"""Plots of losses and metrics over iterations, and of metrics over object size or a setting."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lowres_d2.evaluation.coco_engine import RECALLS
from lowres_d2.fonts import plot_fonts, plot_text
from lowres_d2.own_files import own_path

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEGEND_COLUMNS = 5

Series = Mapping[str, tuple[np.ndarray, np.ndarray]]


def read_metrics(file: str | Path) -> Series:
    """Metrics that Detectron2's JSONWriter wrote, by name: iterations and values.

    A resumed run writes some iterations again; the last line counts. An incomplete last line, which
    a killed run leaves, is ignored.

    Args:
        file: ``metrics.json``, one JSON object a line, each with ``iteration``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line is not of that form.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"no metrics at {path}: train with a JSONWriter, which writes it")
    values: dict[str, dict[int, float]] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            iteration = row.pop("iteration")
        except (json.JSONDecodeError, KeyError, AttributeError, TypeError):
            if number == len(lines):
                break
            raise ValueError(
                f"{path}, line {number}: expected a JSON object with the key 'iteration'"
            ) from None
        for name, value in row.items():
            if isinstance(value, int | float):
                values.setdefault(name, {})[iteration] = value
    return {
        name: (np.array(sorted(found)), np.array([found[k] for k in sorted(found)], float))
        for name, found in values.items()
    }


def plot_training(
    runs: Mapping[str, Series],
    path: str | Path,
    metric: str = "bbox/AP",
    kind: str = "detector",
) -> None:
    """Plot a detector's or classifier's own losses and a metric over iterations, a line per run.

    Losses of objectives are left out, because runs differ in them.

    Args:
        runs: name to metrics, see :func:`read_metrics`.
        path: image file to write.
        metric: of the evaluations.
        kind: what is trained, for the title.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, (left, right) = _figure(2)
    for name, series in runs.items():
        if "total_loss" in series:
            iterations, loss = _detector_loss(series)
            (line,) = left.plot(iterations, _smooth(loss), label=plot_text(name))
            left.plot(iterations, loss, color=line.get_color(), alpha=0.25, linewidth=0.8)
        if metric in series:
            right.plot(*series[metric], marker="o", markersize=4, label=plot_text(name))
    left.set(title=f"training loss of the {kind}", xlabel="iteration", yscale="log")
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter(NullFormatter())
    title = f"{plot_text(metric.split('/')[-1])} on the test set"
    right.set(title=title, xlabel="iteration", ylabel="%", ylim=(0, None))
    _finish(figure, (left, right), path)


def plot_by_size(runs: Mapping[str, Sequence[Mapping]], path: str | Path) -> None:
    """Plot AP and recall over object size, one line per run, with the number of objects as bars.

    Args:
        runs: name to the ``sizes`` rows of an evaluation's ``sized_coco.json``.
        path: image file to write.
    """
    figure, axes = _figure(2)
    rows = next(iter(runs.values()))
    for ax, key, title in zip(
        axes, ("AP", "recall50"), ("AP by size", "recall at IoU 0.5 by size"), strict=True
    ):
        _count_bars(ax, rows)
        for name, sizes in runs.items():
            known = [row for row in sizes if row.get(key) is not None]
            ax.plot(
                [_middle(r) for r in known],
                [r[key] for r in known],
                marker="o",
                label=plot_text(name),
            )
        ax.set(xlabel="object size, pixels", ylabel="%", ylim=(0, 100))
        ax.set_title(title, pad=18)
        ax.set_xscale("log", base=2)
        edges = sorted({row["low"] for row in rows if row["low"]} | {_high(row) for row in rows})
        ax.set_xticks(edges, [f"{edge:g}" for edge in edges])
        ax.set_xticks([], minor=True)
    _finish(figure, axes, path)


def plot_precision_recall(runs: Mapping[str, Mapping[float, np.ndarray]], path: str | Path) -> None:
    """Plot precision over recall, one line per run and one panel per IoU threshold.

    Args:
        runs: name to, by IoU threshold, :func:`precision_by_recall`.
        path: image file to write.
    """
    thresholds = list(next(iter(runs.values())))
    figure, axes = _figure(len(thresholds))
    for ax, iou in zip(axes, thresholds, strict=True):
        for name, curves in runs.items():
            ax.plot(100 * RECALLS, curves[iou], label=plot_text(name))
        ax.set(title=f"IoU {iou:g}", xlabel="recall, %", ylabel="precision, %")
        ax.set(xlim=(0, 100), ylim=(0, 102))
    _finish(figure, axes, path)


def plot_over_value(
    curves: Mapping[str, Mapping[float, float]],
    levels: Mapping[str, float],
    path: str | Path,
    value: str,
    metric: str,
) -> None:
    """Plot a metric over a setting's value, as DFD does in Fig. 2: one line per network.

    Args:
        curves: network to the metric by value.
        levels: network to its metric without the setting, a dashed line of the same colour.
        path: image file to write.
        value: name of the setting; its axis is logarithmic.
        metric: name of the metric, in percent.
    """
    figure, axes = _figure(1)
    for name, found in curves.items():
        values = sorted(found)
        (line,) = axes.plot(values, [found[v] for v in values], marker="o", label=plot_text(name))
        if name in levels:
            axes.axhline(levels[name], linestyle="--", linewidth=1, color=line.get_color())
    axes.set(xlabel=plot_text(value), ylabel=f"{plot_text(metric)}, %", xscale="log")
    ticks = sorted({v for found in curves.values() for v in found})
    axes.set_xticks(ticks, [f"{v:g}" for v in ticks])
    axes.set_xticks([], minor=True)
    axes.set_title(f"dashed: without {plot_text(value)}")
    _finish(figure, [axes], path)


def _detector_loss(series: Series) -> tuple[np.ndarray, np.ndarray]:
    """Iterations, and the sum of the detector's own losses; the total where none was logged.

    The composition logs each objective's ``loss_<group>_<name>`` also unweighted, as
    ``[metric]<group>/<name>``, which distinguishes them from the detector's losses.
    """
    added = {
        "loss_" + name.removeprefix("[metric]").replace("/", "_", 1)
        for name in series
        if name.startswith("[metric]")
    }
    own = [name for name in series if name.startswith("loss") and name not in added]
    if not own:
        return series["total_loss"]
    totals: dict[int, float] = {}
    for name in own:
        for iteration, value in zip(*series[name], strict=True):
            totals[iteration] = totals.get(iteration, 0.0) + value
    return np.array(sorted(totals)), np.array([totals[k] for k in sorted(totals)])


def _count_bars(ax: Axes, rows: Sequence[Mapping]) -> None:
    """Grey bars of the number of objects, at most a third of the axis high; numbers on top."""
    most = max(row["GT"] for row in rows)
    for row in rows:
        low, height = _low(row), 33 * row["GT"] / most
        ax.bar(low, height, width=_high(row) - low, align="edge", color="0.9", edgecolor="white")
        ax.text(_middle(row), 101, row["GT"], ha="center", color="0.5", fontsize=8)


def _low(row: Mapping) -> float:
    return row["low"] or row["high"] / 2  # a logarithmic axis has no zero


def _high(row: Mapping) -> float:
    return 2 * row["low"] if row["high"] is None else row["high"]


def _middle(row: Mapping) -> float:
    return float(np.sqrt(_low(row) * _high(row)))


def _smooth(values: np.ndarray) -> np.ndarray:
    """Running median over a twentieth of the curve: robust to single spikes."""
    half = max(len(values) // 40, 1)
    return np.array(
        [np.median(values[max(k - half, 0) : k + half + 1]) for k in range(len(values))]
    )


def _figure(columns: int) -> tuple[Figure, np.ndarray]:
    # Not through pyplot, which keeps figures alive and may want a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * columns, 4.1), layout="constrained")
    return figure, figure.subplots(1, columns)


def _finish(figure: Figure, axes: Iterable[Axes], path: str | Path) -> None:
    for ax in axes:
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    handles, labels = max((ax.get_legend_handles_labels() for ax in axes), key=lambda x: len(x[0]))
    if handles:
        columns = min(len(handles), LEGEND_COLUMNS)
        with plot_fonts(labels):
            figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    with own_path(path) as part:
        figure.savefig(part, dpi=130)
