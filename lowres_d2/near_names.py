"""The end of a message about a name that is not there: what it may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

LISTED = 12  # as many names are listed where none is near


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The nearest of the known names; empty: none is near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), "")


def near(name: str, known: Iterable[str]) -> str:
    """Names the nearest of the known names; empty: none is near."""
    found = nearest_name(name, known)
    return f", nearest: {found!r}" if found else ""


def listed(names: Sequence[str]) -> str:
    """The names, or the first of many; empty: there are none."""
    if not names:
        return ""
    return f"; there are {', '.join(names[:LISTED])}" + (", ..." if len(names) > LISTED else "")
