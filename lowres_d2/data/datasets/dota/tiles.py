"""Tiles of DOTA's images, and which objects are on them.

As the benchmark's tools cut them: tiles of equal size overlap, and the last one of a row or column
ends with the image. An object of which less than 70 % is on a tile is an ignore region there. Here
its box is the one around what is on the tile of its outline, and smaller images are not padded.
Coordinates are x, y in pixels; of a tile, from its upper left corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lowres_d2.data.datasets.dota.dataset import check_difficult
from lowres_d2.data.datasets.dota.label_files import DotaObject

import cv2
import numpy as np


@dataclass(frozen=True)
class TileRules:
    """How images are cut.

    Attributes:
        size: side of a tile in pixels.
        overlap: of neighbouring tiles, in pixels.
        least_inside: share of an object's area that has to be on a tile for it to be an object
            there; with less of it on the tile, it is an ignore region.
        difficult: "ignore": difficult objects are ignore regions; "object": objects like others.

    Raises:
        ValueError: a value is out of its range.
    """

    size: int = 1024
    overlap: int = 200
    least_inside: float = 0.7
    difficult: str = "ignore"

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.size:
            raise ValueError(
                f"size {self.size}, overlap {self.overlap}: expected an overlap of 0 or more "
                "pixels, and larger tiles"
            )
        if not 0 < self.least_inside <= 1:
            raise ValueError(f"least_inside {self.least_inside:g}: expected a share, over 0 to 1")
        check_difficult(self.difficult)

    def starts(self, length: int) -> list[int]:
        """First pixel of each tile along a side of an image."""
        last = max(length - self.size, 0)
        return [*range(0, last, self.size - self.overlap), last]


class TileObject(NamedTuple):
    """What is on a tile of an object.

    Attributes:
        name: its class.
        bbox: XYWH.
        ignored: whether it is an ignore region.
        difficult: as in the label file.
    """

    name: str
    bbox: list[float]
    ignored: bool
    difficult: int


def objects_on_tile(
    objects: Sequence[DotaObject], corner: tuple[int, int], size: tuple[int, int], rules: TileRules
) -> list[TileObject]:
    """The objects on a tile.

    Args:
        objects: of the whole image.
        corner: x and y of the tile's upper left corner.
        size: width and height of the tile.
        rules: which objects count.
    """
    found = []
    for labelled in objects:
        x, y, width, height = labelled.bbox
        x, y = x - corner[0], y - corner[1]
        if x >= size[0] or y >= size[1] or x + width <= 0 or y + height <= 0:
            continue
        inside, bbox = 1.0, [x, y, width, height]
        if x < 0 or y < 0 or x + width > size[0] or y + height > size[1]:
            inside, bbox = _part_on_tile(np.array(labelled.corners) - corner, size)
        # An outline may pass a tile by though the box around it does not.
        if bbox[2] <= 0 or bbox[3] <= 0:
            continue
        ignored = labelled.difficult > 0 and rules.difficult == "ignore"
        ignored |= inside < rules.least_inside
        found.append(TileObject(labelled.name, bbox, ignored, labelled.difficult))
    return found


def _part_on_tile(corners: np.ndarray, size: tuple[int, int]) -> tuple[float, list[float]]:
    """Share of an outline's area that is on a tile, and the box around that part."""
    # Corners of a few objects are not in the order of the outline.
    outline = corners[cv2.convexHull(corners.astype(np.float32), returnPoints=False)[:, 0]]
    part = outline
    for axis in (0, 1):
        part = _cut(part, axis, 0, 1)
        part = _cut(part, axis, size[axis], -1)
    whole = _area(outline)
    if len(part) == 0 or whole == 0:
        return 0.0, [0.0, 0.0, 0.0, 0.0]
    low, high = part.min(axis=0), part.max(axis=0)
    return _area(part) / whole, [*low.tolist(), *(high - low).tolist()]


def _cut(outline: np.ndarray, axis: int, edge: float, side: int) -> np.ndarray:
    """The part of a convex outline at one side of an edge: Sutherland and Hodgman (1974)."""
    kept = []
    for k in range(len(outline)):
        a, b = outline[k - 1], outline[k]
        a_in, b_in = (side * (point[axis] - edge) >= 0 for point in (a, b))
        if a_in != b_in:
            kept.append(a + (b - a) * (edge - a[axis]) / (b[axis] - a[axis]))
        if b_in:
            kept.append(b)
    return np.array(kept).reshape(-1, 2)


def _area(outline: np.ndarray) -> float:
    x, y = outline.T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)
