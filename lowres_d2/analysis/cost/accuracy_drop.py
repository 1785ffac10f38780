"""How much accuracy a lower resolution costs (ThumbDet, Eq. 11 and Table 7). All in percent."""

from __future__ import annotations


def accuracy_drop_rate(full: float, low: float) -> float:
    """Share of the full-resolution accuracy that is lost at low resolution (Eq. 11).

    Args:
        full: AP of the full-resolution model.
        low: AP of the low-resolution model; a better one gives a negative rate.

    Raises:
        ValueError: ``full`` is not positive, so that there is nothing to lose.
    """
    if not full > 0:
        raise ValueError(f"full-resolution AP {full}: a drop rate needs an AP above 0")
    return 100 * (full - low) / full


def accuracy_drop_gain(full: float, baseline: float, method: float) -> float:
    """By how much a method lowers the drop rate of a baseline (Table 7's delta).

    Args:
        full: AP of the full-resolution model.
        baseline: AP at low resolution without the method, in the paper bicubic.
        method: AP at low resolution with it.
    """
    return accuracy_drop_rate(full, baseline) - accuracy_drop_rate(full, method)
