"""Weights of losses that make sense."""

from __future__ import annotations

import math


def check_loss_weight(key: str, weight: float) -> None:
    """Raise unless a loss can have this weight.

    Args:
        key: of the weight, for the message.
        weight: it.

    Raises:
        ValueError: it is negative, not finite, or no number.
    """
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not 0 <= weight < math.inf:
        raise ValueError(
            f"{key}={weight!r}: expected a number, 0 or more; a negative weight would train the "
            "loss to grow"
        )
