"""Whose turn it is of what differs by level, in a head that runs over the levels one by one."""

from __future__ import annotations

from threading import get_ident
from typing import Any

import torch
from torch import nn


class LevelTurns:
    """Counts the levels from 0, over and over, in each thread for itself. A copy starts anew."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}  # of threads that are between the first level and the last

    def take(self, levels: int) -> int:
        """The level whose turn it is, of so many."""
        thread = _thread()
        level = self._next.pop(thread, 0)
        if level + 1 < levels:
            self._next[thread] = level + 1
        return level

    def start(self) -> None:
        """The first level is next, even if an exception ended the last round before its end."""
        self._next.pop(_thread(), None)

    def __reduce__(self) -> tuple[type[LevelTurns], tuple]:
        return LevelTurns, ()


def start_levels(head: nn.Module, *_: Any) -> None:
    """Have everything in a head begin with the first level; may be a forward pre-hook of it."""
    for module in head.modules():
        turns = vars(module).get("turns")
        if isinstance(turns, LevelTurns):
            turns.start()


def _thread() -> int:
    # A compiled graph has no threads in it.
    return 0 if torch.compiler.is_compiling() else get_ident()
