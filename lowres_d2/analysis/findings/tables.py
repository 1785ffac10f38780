"""Markdown tables of reports."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

NOT_THERE = "n/a (0 GT)"
MOST_CLASSES = 30  # rows of a table by class; nobody reads more


def table(head: Sequence[str], rows: Sequence[Sequence]) -> str:
    """A table whose numbers are formatted already."""
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def metric(value: float | None) -> str:
    """A metric in percent with one decimal, or that there is no ground truth for it."""
    return NOT_THERE if value is None else f"{value:.1f}"
