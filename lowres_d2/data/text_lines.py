"""Text files of data sets, line by line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def text_lines(path: Path, expected: str) -> list[str]:
    """The lines of a text file.

    Args:
        path: the file, in UTF-8.
        expected: what it should have, for messages.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not text ({error}); expected {expected}") from None


def read_labels(
    path: str | Path,
    parse: Callable[[str], T | None],
    name: str,
    expected: str,
    skip: Callable[[str], bool] = lambda line: False,
) -> list[T]:
    """The objects of a label file with a line for each.

    Args:
        path: the file.
        parse: makes an object of a line; None where the line is none of the format.
        name: of the format, for messages.
        expected: what a line should have, for messages.
        skip: whether a line is no object's; empty ones are not.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no text, or a line is none of the format; names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such label file")
    found = []
    for number, line in enumerate(text_lines(path, f"{name}'s labels"), start=1):
        if not line.strip() or skip(line):
            continue
        labelled = parse(line)
        if labelled is None:
            raise ValueError(f"{path}: line {number} is {line.strip()[:80]!r}; expected {expected}")
        found.append(labelled)
    return found
