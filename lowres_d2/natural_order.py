"""The order of names by the numbers in them: ``frame2`` is before ``frame10``."""

from __future__ import annotations

import re
from typing import Any


def natural_order(name: str) -> tuple[Any, ...]:
    """A key to sort file names and paths by; what is in a folder stays together.

    Neighbouring images of a camera are then neighbours whether or not their numbers have leading
    zeros.
    """
    # Texts and numbers take turns, a text first, so that only like is compared with like.
    parts = [re.split(r"([0-9]+)", part) for part in name.split("/")]
    turns = [[int(x) if k % 2 else x for k, x in enumerate(part)] for part in parts]
    return turns, name  # 1.png and 01.png have an order, too
