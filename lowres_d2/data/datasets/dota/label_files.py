"""DOTA's label files: a text file for each image, with a line for each object.

Ding et al., "Object Detection in Aerial Images: A Large-Scale Benchmark and Challenges" (PAMI
2021); dataset page captain-whu.github.io/DOTA. A line is ``x1 y1 x2 y2 x3 y3 x4 y4 class
difficult``: the four corners in pixels, from 0, and 1 for an object that is difficult to detect
(the benchmark's tools write 2 where a tile cuts most of it off). Two lines before them may say
``imagesource:...`` and ``gsd:...``.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from lowres_d2.data.text_lines import read_labels

# Of DOTA-v2.0, in the order of its page; v1.0 has the first fifteen, v1.5 sixteen.
DOTA_CLASSES = [
    "plane", "ship", "storage-tank", "baseball-diamond", "tennis-court", "basketball-court",
    "ground-track-field", "harbor", "bridge", "large-vehicle", "small-vehicle", "helicopter",
    "roundabout", "soccer-ball-field", "swimming-pool", "container-crane", "airport", "helipad",
]  # fmt: skip

_HEADER = ("imagesource", "gsd")
_COORDINATES = 8
_TRIED_FILES = 20  # of a folder: some images have no objects


class DotaObject(NamedTuple):
    """An object: class name, four corners (x, y) in pixels, and 0 unless it is difficult."""

    name: str
    corners: tuple[tuple[float, float], ...]
    difficult: int

    @property
    def bbox(self) -> list[float]:
        """The horizontal box around the corners, XYWH in pixels."""
        xs, ys = zip(*self.corners, strict=True)
        return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def read_dota_labels(path: str | Path) -> list[DotaObject]:
    """Read the objects of an image.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line is none of this format; names file and line.
    """
    expected = "eight coordinates, a class and 0 or 1 (difficult)"
    return read_labels(path, _parse, "DOTA", expected, skip=_is_header)


def is_dota_folder(folder: Path) -> bool:
    """Whether a folder has label files of DOTA."""
    return any(_has_labels(path) for path in islice(sorted(folder.glob("*.txt")), _TRIED_FILES))


def check_dota_classes(source: Path, found: Iterable[str], known: Iterable[str]) -> None:
    """Raise an error for a class that is not known.

    Args:
        source: file or folder, for messages.
        found: names of classes.
        known: names that these can be.
    """
    known = list(known)
    for name in sorted({*found} - {*known}):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f", nearest is '{near[0]}'" if near else ""
        raise ValueError(
            f"{source}: has an object of class '{name}', which is none of DOTA's {len(known)}{hint}"
        )


def _is_header(line: str) -> bool:
    return line.partition(":")[0].strip().lower() in _HEADER


def _has_labels(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = (line for line in islice(file, 10) if line.strip() and not _is_header(line))
            first = next(lines, "")
    except (OSError, UnicodeDecodeError):
        return False
    return _parse(first) is not None


def _parse(line: str) -> DotaObject | None:
    words = line.split()
    # Some copies lack the last word.
    if len(words) not in (_COORDINATES + 1, _COORDINATES + 2):
        return None
    name, *difficult = words[_COORDINATES:]
    try:
        values = [float(word) for word in words[:_COORDINATES]]
        flag = int(difficult[0]) if difficult else 0
    except ValueError:
        return None
    if not all(map(math.isfinite, values)) or flag < 0:
        return None
    return DotaObject(name, tuple(zip(values[::2], values[1::2], strict=True)), flag)
