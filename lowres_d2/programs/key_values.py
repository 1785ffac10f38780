"""Changes to a recipe that stand behind an argument of several values, which takes them too."""

from __future__ import annotations

import argparse
import re
from pathlib import Path


def move_overrides(args: argparse.Namespace, *names: str) -> None:
    """Move each ``key=value`` from arguments of several values to ``args.opts``.

    Args:
        args: of the command line.
        names: arguments; a word that names a file remains there, whatever it looks like.
    """
    for name in names:
        words = getattr(args, name) or []
        args.opts = [*args.opts, *filter(_is_override, words)]
        setattr(args, name, [word for word in words if not _is_override(word)])


def _is_override(word: str) -> bool:
    """Whether it changes a key such as ``train.device``: names of runs have no dot."""
    return re.match(r"\+?\w+(\.\w+)+=", word) is not None and not Path(word).exists()
