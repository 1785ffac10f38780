"""Results of several models over several seeds in one table. All accuracies in percent."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowres_d2.analysis.cost.accuracy_drop import accuracy_drop_gain, accuracy_drop_rate
from lowres_d2.analysis.cost.trade_off import Point
from lowres_d2.evaluation.shown import ShownMetrics

from tabulate import tabulate


@dataclass(frozen=True)
class SeedResult:
    """One model trained with one seed.

    Attributes:
        name: name of the model, the same for all seeds.
        seed: seed of the training.
        accuracies: those of its evaluator's task by name, such as ``AP``, ``AP50``, ``AP-<size
            range>``; None where there is no object.
        core_seconds: processor time of its training and evaluation; None where unknown.
    """

    name: str
    seed: int
    accuracies: Mapping[str, float | None]
    core_seconds: float | None


def gap_closed(full: float, baseline: float, method: float) -> float:
    """Share of the gap between the baseline and full resolution that a method closes, in percent.

    Raises:
        ValueError: full resolution is not better than the baseline.
    """
    if not full > baseline:
        raise ValueError(f"full resolution {full} is not above the baseline {baseline}: no gap")
    return 100 * (method - baseline) / (full - baseline)


def summary_table(
    results: Sequence[SeedResult], shown: ShownMetrics, baseline: str, full: str | None
) -> str:
    """Markdown table: one row per model, with mean and standard deviation over its seeds.

    Args:
        results: results of all models, with the same seeds.
        shown: metrics of the columns.
        baseline: name of the model that others are compared with.
        full: name of the full-resolution model, for the drop of the main metric and the gap closed;
            None: the table shows the gain over the baseline instead, in the main metric and in each
            size range.
    """
    names = list(dict.fromkeys(result.name for result in results))
    by_name = {name: [r for r in results if r.name == name] for name in names}
    sized = [f"{shown.main}-{size_range}" for size_range in shown.size_ranges]
    columns = [*shown.columns, *sized]
    mean = {name: {c: _mean(by_name[name], c) for c in columns} for name in names}
    if full is None:
        against = ["gain", *(f"gain {size_range}" for size_range in shown.size_ranges)]
    else:
        against = [f"{shown.main} drop", "drop reduction", "gap closed"]
    rows = []
    for name in names:
        row = [name, *(_spread([r.accuracies[c] for r in by_name[name]]) for c in columns)]
        if full is None:
            row += _gains(
                [mean[name][c] for c in (shown.main, *sized)],
                [mean[baseline][c] for c in (shown.main, *sized)],
                name == baseline,
            )
        else:
            references = full, baseline
            means = (mean[one][shown.main] for one in (full, baseline, name))
            row += _against(*means, name, references)
        rows.append([*row, _core_minutes(by_name[name])])
    head = ["", *columns, *against, "core min"]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def prepared_table(results: Sequence[SeedResult], shown: ShownMetrics) -> str:
    """Markdown table of networks that the models use: their own metrics over seeds.

    Args:
        results: results of all networks, with the same seeds.
        shown: metrics of the columns.
    """
    rows = []
    for name in dict.fromkeys(result.name for result in results):
        found = [result for result in results if result.name == name]
        spreads = [_spread([r.accuracies[c] for r in found]) for c in shown.columns]
        rows.append([name, *spreads, _core_minutes(found)])
    head = ["", *shown.columns, "core min"]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def cost_table(points: Sequence[Point]) -> str:
    """Markdown table: the cost of each model, and how many times lower than the first one's.

    Where a model has layers of few bits, memory and OPs are in it, and OPs are what is fewer.

    Args:
        points: models with images per second and MACs.
    """
    first, columns = points[0], {"": [point.name for point in points]}
    counts = {"GMACs": [point.macs for point in points]}
    if any(point.has_low_bits for point in points):
        columns["MB"] = [f"{point.memory / 1e6:.2f}" for point in points]
        counts["GOPs"] = [point.operations for point in points]
    for unit, numbers in counts.items():
        columns[unit] = [f"{number / 1e9:.3g}" for number in numbers]
    fewest = list(counts.values())[-1]
    columns["fewer"] = [f"{fewest[0] / number:.1f} x" for number in fewest]
    speeds = [point.images_per_second for point in points]
    columns["images/s"] = [f"{number:.1f}" for number in speeds]
    columns["faster"] = [f"{number / first.images_per_second:.1f} x" for number in speeds]
    return tabulate(columns, "keys", tablefmt="github", disable_numparse=True)


def _against(
    full: float, baseline: float, method: float, name: str, references: tuple[str, str]
) -> list[str]:
    """Drop rate, its reduction against the baseline's, gap closed; empty where undefined."""
    if name == references[0] or not full > 0:
        return ["", "", ""]
    drop = f"{accuracy_drop_rate(full, method):.1f} %"
    if name == references[1] or not full > baseline:
        return [drop, "", ""]
    less = f"{accuracy_drop_gain(full, baseline, method):.1f} points"
    return [drop, less, f"{gap_closed(full, baseline, method):.1f} %"]


def _gains(
    method: Sequence[float | None], baseline: Sequence[float | None], is_baseline: bool
) -> list[str]:
    """Gain of each accuracy; empty for the baseline itself and where there is no object."""
    return [
        "" if is_baseline or ours is None or theirs is None else f"{ours - theirs:+.1f}"
        for ours, theirs in zip(method, baseline, strict=True)
    ]


def _core_minutes(results: Sequence[SeedResult]) -> str:
    """Mean of those that are known; empty where none is."""
    known = [r.core_seconds for r in results if r.core_seconds is not None]
    return f"{statistics.fmean(known) / 60:.1f}" if known else ""


def _mean(results: Sequence[SeedResult], key: str) -> float | None:
    known = [r.accuracies[key] for r in results if r.accuracies[key] is not None]
    return statistics.fmean(known) if known else None


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "n/a (0 GT)"
    # Of the sample: n - 1 in the denominator.
    deviation = f" ± {statistics.stdev(known):.1f}" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.1f}{deviation}"
