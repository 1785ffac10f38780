"""Turns the benchmark's counts into rows, named metrics and tables.

A row has ``GT``, ``detections`` and ``correct``, and ``recall``, ``accuracy`` and ``F1`` in
percent. These are None if there are no objects; accuracy also if there are no detections. Rows of
size ranges also have ``best_F1`` and ``best_score``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lowres_d2.evaluation.f1_engine import Counts
from lowres_d2.evaluation.tables import NOT_THERE, metric

import numpy as np
from tabulate import tabulate


def best_f1(f1: Sequence[float], thresholds: np.ndarray) -> tuple[float, float]:
    """The highest F1 and the highest threshold that gives it."""
    values = np.asarray(f1)
    # From the end, since argmax gives the first of equal values.
    best = len(values) - 1 - int(values[::-1].argmax())
    return float(values[best]), float(thresholds[best])


def f1_score(counts: Counts) -> float:
    """F1 in percent; 0 if there are neither objects nor detections."""
    # F1 = 2 TP / (objects + detections).
    return 200 * counts.correct / max(counts.objects + counts.detections, 1)


def counts_row(counts: Counts) -> dict:
    """Counts of one size range or class, with recall, accuracy and F1, as a row."""
    correct, found = counts.correct, counts.detections
    row = {"GT": counts.objects, "detections": found, "correct": correct}
    if not counts.objects:
        return row | {"recall": None, "accuracy": None, "F1": None}
    return row | {
        "recall": 100 * correct / counts.objects,
        "accuracy": 100 * correct / found if found else None,
        "F1": f1_score(counts),
    }


def flat_f1(summary: Mapping) -> dict[str, float | None]:
    """The metrics as a flat dict, as Detectron2 expects them."""
    names = {
        "F1": "F1",
        "recall": "recall",
        "accuracy": "accuracy",
        "GT": "objects",
        "detections": "detections",
        "best_F1": "best-F1",
        "best_score": "best-F1-score",
    }
    metrics = {}
    for row in summary["size_ranges"]:
        suffix = "" if row["name"] == "all" else f"-{row['name']}"
        metrics |= {f"{name}{suffix}": row[key] for key, name in names.items()}
    return metrics | {f"F1-{row['name']}": row["F1"] for row in summary["classes"]}


def f1_tables(summary: Mapping) -> str:
    """Tables of size ranges and of classes.

    Args:
        summary: content of ``sized_f1.json``, which :class:`SizedF1Evaluator` writes.
    """
    size_ranges = [
        [
            *_cells(row),
            metric(row["best_F1"]),
            NOT_THERE if row["best_score"] is None else f"{row['best_score']:.2f}",
        ]
        for row in summary["size_ranges"]
    ]
    size = summary["size_by"].replace("_", " ")
    head = ["GT", "detections", "correct", "recall", "accuracy", "F1"]
    tables = (
        tabulate(rows, header, tablefmt="github", disable_numparse=True)
        for rows, header in (
            (size_ranges, ["size", *head, "best F1", "at score"]),
            ([_cells(row) for row in summary["classes"]], ["class", *head]),
        )
    )
    title = (
        f"TT100K's benchmark: IoU over {summary['iou']}, score from "
        f"{summary['score_threshold']:g}, size by {size}, metrics in percent"
    )
    return "\n\n".join([title, *tables])


def _cells(row: Mapping) -> list:
    recall, accuracy, f1 = (metric(row[key]) for key in ("recall", "accuracy", "F1"))
    if row["GT"] and not row["detections"]:
        accuracy = "n/a (0 found)"
    name = row.get("label", row["name"])
    return [name, row["GT"], row["detections"], row["correct"], recall, accuracy, f1]
