"""The rows of YOLO's label files, checked.

A row is ``class x y width height``, of which x and y are the box's centre, or ``class x1 y1 x2 y2
...``, a polygon of three points or more; all are fractions of the image's width and height. Boxes
of polygons are the ones around their points. Rows of poses have keypoints behind the box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Fractions this far beyond the image are those of rounding, or of border pixels counted twice.
_SLACK = 0.01
_LOW, _HIGH = -_SLACK, 1 + _SLACK
_LEAST_POLYGON = 7  # words: a class and three points
_SHOWN = 60  # characters of a row in messages


# A row: class, and box as fractions of the image.
YoloBox = tuple[int, float, float, float, float]


def in_pixels(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """XYWH boxes in pixels.

    Args:
        boxes: (M, 4) x and y of the centres, widths and heights, as fractions.
        sizes: (M, 2) height and width of the image of each.
    """
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], 1)
    return corners * np.tile(sizes[:, ::-1], 2)


class YoloRows:
    """Reads label files.

    Args:
        names: of the classes.
        keypoints: numbers behind the box in each row, of data sets of poses.
    """

    def __init__(self, names: Sequence[str], keypoints: int = 0) -> None:
        self._names = list(names)
        self._classes = frozenset(range(len(names)))
        self._with_keypoints = 5 + keypoints if keypoints else 0

    def read(self, path: str, invalid: list[str], wrong: list[str] | None = None) -> list[YoloBox]:
        """The sound rows of a file; of one that is not there none.

        Args:
            path: the label file.
            invalid: takes a message for each row whose box is invalid.
            wrong: takes a message for each row that is none, or whose class is unknown; None: such
                a row is an error.

        Raises:
            ValueError: the file is no text, or a row is wrong.
        """
        content = _content(path)
        found = []
        for number, line in enumerate(content.splitlines(), start=1):
            words = line.split()
            if not words:
                continue
            fault = row = None
            try:
                values = [*map(float, words)]
                row = self._row(values)
            except ValueError:
                fault = f"{_text(line)} is not {self._expected()}"
            if row is None and fault is None:
                fault = self._fault(values, line)
            if fault is not None:
                fault = f"{path}: line {number}: {fault}"
                if wrong is None:
                    raise ValueError(fault)
                wrong.append(fault)
                continue
            polygon = len(values) not in (5, self._with_keypoints)
            reason = _invalid(row, values[1:] if polygon else values[1:5])
            if reason:
                invalid.append(f"{path}: line {number}: {_text(line)}: {reason}")
            else:
                found.append(row)
        return found

    def _row(self, values: list[float]) -> YoloBox | None:
        """The box of a row; None: it has another number of values, or a class that is unknown."""
        count = len(values)
        if values[0] not in self._classes:
            return None
        category = int(values[0])
        if count == 5 or count == self._with_keypoints:
            return (category, *values[1:5])
        if count < _LEAST_POLYGON or not count % 2 or self._with_keypoints:
            return None
        xs, ys = values[1::2], values[2::2]
        left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
        return category, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top

    def _fault(self, values: list[float], line: bytes) -> str:
        if values[0] not in self._classes:
            return (
                f"class {line.split()[0].decode(errors='replace')} is none of the "
                f"{len(self._names)} classes, 0 to {len(self._names) - 1}"
            )
        return f"{_text(line)} has {len(values)} numbers, not {self._expected()}"

    def _expected(self) -> str:
        if self._with_keypoints:
            return f"class, box and keypoints ({self._with_keypoints} numbers)"
        return "a class and x, y, width, height, or a class and a polygon"


def _invalid(row: YoloBox, fractions: list[float]) -> str:
    """Why a box is invalid; empty: it is valid."""
    for value in fractions:
        if not _LOW <= value <= _HIGH:  # nor is NaN
            what = "is not finite" if not math.isfinite(value) else "is no fraction of the image"
            return f"{value:g} {what}: expected numbers from 0 to 1"
    _, x, y, width, height = row
    if not (width > 0 and height > 0):
        return "the box has no area"
    # Only in the slack's border.
    if abs(x - 0.5) - width / 2 >= 0.5 or abs(y - 0.5) - height / 2 >= 0.5:
        return "the box lies outside the image"
    return ""


def _text(line: bytes) -> str:
    text = line.strip().decode(errors="replace")
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _content(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            content = file.readall()
    except FileNotFoundError:
        return b""
    if b"\0" in content:
        raise ValueError(f"{path}: is not text; expected YOLO's labels")
    return content.removeprefix(b"\xef\xbb\xbf")
