"""Which objects are on a crop, and which part of each.

An object's box on a crop is the one around what is there of its outline. Coordinates are x, y in
pixels; on a crop, from its upper left corner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lowres_d2.structures import Window

import cv2
import numpy as np


class Outline(NamedTuple):
    """An object of a whole image.

    Attributes:
        label: its class, a name or an id.
        corners: (x, y) of each, in any order; of a box its four.
        ignored: whether it is an ignore region.
        more: other values of its annotation, which its parts keep.
    """

    label: Any
    corners: tuple[tuple[float, float], ...]
    ignored: bool = False
    more: Mapping[str, Any] = {}

    @property
    def bbox(self) -> list[float]:
        """The horizontal box around the corners, XYWH in pixels."""
        xs, ys = zip(*self.corners, strict=True)
        return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


class CropObject(NamedTuple):
    """What is on a crop of an object.

    Attributes:
        label: its class.
        bbox: XYWH.
        ignored: whether it is an ignore region.
        more: as of its outline.
    """

    label: Any
    bbox: list[float]
    ignored: bool
    more: Mapping[str, Any]


def objects_on_crop(
    outlines: Sequence[Outline], window: Window, least_inside: float
) -> list[CropObject]:
    """The objects on a crop.

    Args:
        outlines: of the whole image.
        window: the crop.
        least_inside: share of an object's area, below which it is an ignore region.
    """
    found = []
    rows, columns = window.size
    for outline in outlines:
        x, y, width, height = outline.bbox
        x, y = x - window.x0, y - window.y0
        if x >= columns or y >= rows or x + width <= 0 or y + height <= 0:
            continue
        inside, bbox = 1.0, [x, y, width, height]
        if x < 0 or y < 0 or x + width > columns or y + height > rows:
            corners = np.array(outline.corners) - (window.x0, window.y0)
            inside, bbox = _part(corners, (columns, rows))
        # An outline may pass a crop by though the box around it does not.
        if bbox[2] <= 0 or bbox[3] <= 0:
            continue
        ignored = outline.ignored or inside < least_inside
        found.append(CropObject(outline.label, bbox, ignored, outline.more))
    return found


def _part(corners: np.ndarray, size: tuple[int, int]) -> tuple[float, list[float]]:
    """Share of an outline that is on a crop, and the box around that part."""
    # Corners of a few objects are not in the order of the outline.
    outline = corners[cv2.convexHull(corners.astype(np.float32), returnPoints=False)[:, 0]]
    part = outline
    for axis in (0, 1):
        part = _cut(part, axis, 0, 1)
        part = _cut(part, axis, size[axis], -1)
    if len(part) == 0:
        return 0.0, [0.0, 0.0, 0.0, 0.0]
    # Corners of one line have no area, and across a crop still a box.
    measured = _area if _area(outline) > 0 else _length
    low, high = part.min(axis=0), part.max(axis=0)
    return measured(part) / measured(outline), [*low.tolist(), *(high - low).tolist()]


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


def _length(line: np.ndarray) -> float:
    return float(np.linalg.norm(line.max(axis=0) - line.min(axis=0)))


def _area(outline: np.ndarray) -> float:
    x, y = (outline - outline[0]).T  # exactly 0 for two corners
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)
