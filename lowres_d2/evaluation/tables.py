"""The metrics of an evaluation as plain-text tables, from the content of ``sized_coco.json``."""

from __future__ import annotations

import math

from lowres_d2.evaluation.lrp import PARTS
from lowres_d2.evaluation.size_ranges import SizeRanges

from tabulate import tabulate

COLUMNS = ("AP", "AP25", "AP50", "AP75", "AR", "recall50")
NOT_THERE = "n/a (0 GT)"


def metric(value: float | None) -> str:
    """A metric in percent with one decimal, or that there is no ground truth for it."""
    return NOT_THERE if value is None else f"{value:.1f}"


def summary_tables(summary: dict) -> str:
    """Tables of an evaluation: by size range, by class, by size.

    Args:
        summary: content of ``sized_coco.json``, which :class:`SizedCOCOEvaluator` writes.
    """
    rows = [summary["all"], *summary["size_ranges"]]
    agreed = summary.get("labelled_by")
    coarser, finer = (
        why_not_all(summary[kind], summary["all"]["GT"]) for kind in ("size_ranges", "sizes")
    )
    parts = [
        f"AGREEMENT with the {agreed}: GT are these, not ground truth" if agreed else "",
        f"{summary['images']} images, {summary['all']['GT']} objects, maxDets "
        f"{summary['max_dets']}, size by {summary['area']}, metrics in percent",
        _table("size", rows, COLUMNS),
        coarser,
        _olrp(summary.get("olrp")),
        _table("class", summary["classes"], ("AP", "AP50", "AR", "oLRP")),
        _table("finer size", summary["sizes"], ("AP", "AP50", "AR", "recall50")),
        _without_repetition(finer, coarser),
    ]
    return "\n\n".join(part for part in parts if part)


def _without_repetition(finer: str, coarser: str) -> str:
    """What the note of a second table says that the first one's does not."""
    reason = coarser.partition(": ")[0]
    return "" if finer == coarser else finer.removeprefix(f"{reason}: ")


def _olrp(parts: dict | None) -> str:
    if not parts:
        return ""
    if parts["oLRP_loc"] is None:
        return f"oLRP {metric(parts['oLRP'])} (0 is best): no detection is correct"
    total, *errors = (metric(parts[name]) for name in PARTS)
    return "oLRP {} (0 is best): localisation {}, false positives {}, misses {}".format(
        total, *errors
    )


def why_not_all(rows: list[dict], total: int) -> str:
    """Why the objects of size ranges do not add up to all objects; empty where they do.

    Args:
        rows: of the size ranges, from ``sized_coco.json``.
        total: number of objects.
    """
    limits = [(row["low"], math.inf if row["high"] is None else row["high"]) for row in rows]
    spec = SizeRanges(tuple(row["name"] for row in rows), tuple(limits))
    return spec.why_not_all([row["GT"] for row in rows], total)


def _table(title: str, rows: list[dict], columns: tuple[str, ...]) -> str:
    columns = tuple(column for column in columns if column in rows[0])
    body = [
        [row.get("label", row["name"]), row["GT"], *(metric(row[column]) for column in columns)]
        for row in rows
    ]
    # Without disable_numparse tabulate prints 30.0 as 30.
    return tabulate(body, [title, "GT", *columns], tablefmt="github", disable_numparse=True)
