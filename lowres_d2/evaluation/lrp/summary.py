"""oLRP among the metrics of an evaluation, in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lowres_d2.evaluation.lrp.optimal import OptimalLRP, mean_of_classes

# Names of the metrics, and the numbers that they are.
PARTS = {
    "oLRP": "error",
    "oLRP_loc": "localisation",
    "oLRP_FP": "false_positives",
    "oLRP_FN": "misses",
}


def add_olrp(summary: dict, classes: Sequence[OptimalLRP]) -> None:
    """Add oLRP to a summary: ``olrp``, means over the classes, and to the row of each class.

    Args:
        summary: content of ``sized_coco.json``; changed in place.
        classes: in the order of its ``classes``.
    """
    mean = mean_of_classes(classes)
    summary["olrp"] = {name: _percent(getattr(mean, part)) for name, part in PARTS.items()}
    for row, found in zip(summary["classes"], classes, strict=True):
        row["oLRP"] = _percent(found.error)


def flat_olrp(summary: Mapping) -> dict[str, float | None]:
    """The metrics of oLRP of a summary; none where it has none."""
    if "olrp" not in summary:
        return {}
    return summary["olrp"] | {f"oLRP-{row['name']}": row["oLRP"] for row in summary["classes"]}


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction
