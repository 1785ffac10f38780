"""What numbers of a JSON file may be: it can hold true, NaN and 10**999 where a number belongs."""

from __future__ import annotations

from collections.abc import Iterable


def is_whole(value: object) -> bool:
    """Whether a value is an integer; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_finite(value: object) -> bool:
    """Whether a value is a finite number below 1e15."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def shortened(names: Iterable[str], limit: int = 10) -> str:
    """The first few names as text, and how many there are in all."""
    names = list(names)
    return ", ".join(names[:limit]) + (f", ... ({len(names)})" if len(names) > limit else "")
