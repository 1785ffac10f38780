"""Changes to a recipe that stand behind an argument of several values, which takes them too."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path


def move_overrides(args: argparse.Namespace, *names: str) -> None:
    """Move each ``key=value`` from arguments of several values to ``args.opts``.

    Args:
        args: of the command line.
        names: arguments; a word that names a file remains there, whatever it looks like. Numbers
            are read by :func:`number_or_change`.
    """
    for name in names:
        words = getattr(args, name) or []
        args.opts = [*args.opts, *filter(_is_override, words)]
        setattr(args, name, [word for word in words if not _is_override(word)])


def number_or_change(number: type[int] | type[float]) -> Callable[[str], float | str]:
    """How an argument of several numbers reads a word, for :func:`move_overrides`."""

    def read(word: str) -> float | str:
        return word if _is_override(word) else number(word)

    read.__name__ = number.__name__  # in argparse's message
    return read


def _is_override(word: float | str) -> bool:
    """Whether it changes a key such as ``train.device``: names of runs have no dot."""
    if not isinstance(word, str):
        return False
    return re.match(r"\+?\w+(\.\w+)+=", word) is not None and not Path(word).exists()
