"""Where tiles lie on an image that is larger than they are.

Tiles of equal size overlap, and the last one of a row or column ends with the image. So an object
that is no longer than the overlap, on either side, is whole on at least one tile. Sizes and
overlaps are (height, width) in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lowres_d2.structures.frames import Size


class Window(NamedTuple):
    """A rectangle of an image's pixels: columns from x0 up to x1, rows from y0 up to y1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def size(self) -> Size:
        """Height and width."""
        return self.y1 - self.y0, self.x1 - self.x0


@dataclass(frozen=True)
class TileGrid:
    """How images are cut.

    Attributes:
        size: of a tile, a number for both sides or (height, width).
        overlap: of neighbouring tiles, likewise; they may overlap more at the image's end. None: a
            fifth of the size.

    Raises:
        ValueError: a value is out of its range.
    """

    size: int | Sequence[int] = 640
    overlap: int | Sequence[int] | None = None

    def __post_init__(self) -> None:
        size = _pair("size", self.size)
        fifth = [side // 5 for side in size]
        overlap = _pair("overlap", fifth if self.overlap is None else self.overlap)
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "overlap", overlap)
        if not all(0 <= b < a for a, b in zip(self.size, self.overlap, strict=True)):
            shown = [_short(pair) for pair in (self.size, self.overlap)]
            raise ValueError(
                f"size {shown[0]}, overlap {shown[1]}: expected an overlap of 0 or more pixels, "
                "less than the size"
            )

    def starts(self, length: int, axis: int = 0) -> list[int]:
        """First pixel of each tile along a side of an image.

        Args:
            length: of the side in pixels.
            axis: 0 is its height, 1 its width.
        """
        last = max(length - self.size[axis], 0)
        return [*range(0, last, self.size[axis] - self.overlap[axis]), last]

    def windows(self, size: Size) -> list[Window]:
        """The tiles of an image of this size, row by row; a shorter side is kept as it is."""
        height, width = min(size[0], self.size[0]), min(size[1], self.size[1])
        return [
            Window(x, y, x + width, y + height)
            for y in self.starts(size[0], 0)
            for x in self.starts(size[1], 1)
        ]

    def has_one_tile(self, size: Size) -> bool:
        """Whether an image is no larger than a tile."""
        return size[0] <= self.size[0] and size[1] <= self.size[1]


def _pair(key: str, value: int | Sequence[int]) -> Size:
    sides = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(sides) != 2 or not all(type(side) is int for side in sides):
        raise ValueError(f"{key} {value}: expected whole pixels, or [height, width]")
    return sides


def _short(pair: Size) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{list(pair)}"
