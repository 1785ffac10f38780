"""Numbered names for what is kept of earlier runs, such as ``config-earlier2.yaml``."""

from __future__ import annotations

from pathlib import Path


def next_numbered(folder: Path, before: str, after: str = "") -> Path:
    """The path in a folder whose number is one more than the largest there.

    The gap that a removed file leaves is not filled: the largest number is the latest, and no name
    is taken twice.

    Args:
        folder: where the numbered files or folders are.
        before: their name before the number.
        after: their name after it.
    """
    numbers = [
        int(number)
        for path in folder.iterdir()
        if path.name.startswith(before)
        and path.name.endswith(after)
        and (number := path.name[len(before) : len(path.name) - len(after)]).isdecimal()
    ]
    return folder / f"{before}{1 + max(numbers, default=0)}{after}"
