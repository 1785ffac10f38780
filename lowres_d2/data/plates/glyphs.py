"""What is drawn on a plate: eight glyphs that differ in fine strokes, four outlines, three decoys.

Every shape is a list of convex polygons in the plate's own plane, an array of (x, y) corners each;
the plane spans [-1, 1] on both axes, x to the right and y down. The homography of a plate (see
``scene``) maps the polygons to image pixels.
"""

from __future__ import annotations

import math

import numpy as np

Polygon = np.ndarray  # (corners, 2)

NUM_BARS = 4
GLYPH_SCALE = 0.56  # glyphs fill the middle of the plate; its rim does not depend on the class
FACE_SCALE = 0.86  # the face inside the rim


def rectangle(half_width: float, half_height: float, center_y: float = 0.0) -> Polygon:
    """An upright rectangle about (0, ``center_y``)."""
    x, y = half_width, half_height
    return np.array([[-x, -y], [x, -y], [x, y], [-x, y]]) + np.array([0, center_y])


def regular_polygon(corners: int, radius: float, first_angle: float = 0.0) -> Polygon:
    """Corners on a circle about the origin."""
    angles = first_angle + 2 * math.pi * np.arange(corners) / corners
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def rotate(polygon: Polygon, angle: float) -> Polygon:
    """Turn by ``angle`` radians; clockwise as seen, because y points down."""
    c, s = math.cos(angle), math.sin(angle)
    return polygon @ np.array([[c, s], [-s, c]])


def _bars(angle: float, *, round_hull: bool = False) -> list[Polygon]:
    """``NUM_BARS`` parallel strokes, with gaps a third wider than the strokes."""
    half_stroke = 0.85 / (2 * NUM_BARS - 1)
    strokes = []
    for y in np.linspace(-0.85, 0.85, NUM_BARS):
        # Slanted strokes end on a circle, so that their corners stay on the face.
        half_length = math.sqrt(max(0.05, 1.15 - y * y)) if round_hull else 1.0
        strokes.append(rotate(rectangle(half_length, half_stroke, y), angle))
    return strokes


def _arrow(direction: int) -> list[Polygon]:
    shaft = rectangle(0.75, 0.16) + np.array([0.25, 0])
    head = np.array([[-1.0, 0.0], [-0.1, -0.75], [-0.1, 0.75]])
    return [direction * shaft, direction * head]


def _crossing(angle: float) -> list[Polygon]:
    return [rotate(stroke, angle) for stroke in (rectangle(1.0, 0.15), rectangle(0.15, 1.0))]


def _scaled(polygons: list[Polygon]) -> list[Polygon]:
    return [GLYPH_SCALE * polygon for polygon in polygons]


GLYPHS: dict[str, list[Polygon]] = {
    "bars_horizontal": _scaled(_bars(0.0)),
    "bars_vertical": _scaled(_bars(math.pi / 2)),
    "bars_rising": _scaled(_bars(-math.pi / 4, round_hull=True)),
    "bars_falling": _scaled(_bars(math.pi / 4, round_hull=True)),
    "arrow_left": _scaled(_arrow(1)),
    "arrow_right": _scaled(_arrow(-1)),
    "cross": _scaled(_crossing(math.pi / 4)),
    "plus": _scaled(_crossing(0.0)),
}
PLATE_CLASSES = list(GLYPHS)

OUTLINES: list[Polygon] = [
    regular_polygon(28, 1.0),
    regular_polygon(4, 0.92 * math.sqrt(2), math.pi / 4),
    regular_polygon(8, 1.05, math.pi / 8),
    regular_polygon(6, 1.08),
]

# Interiors of plates that belong to no class: empty, a disc, one stroke.
DECOYS: list[list[Polygon]] = [
    [],
    _scaled([regular_polygon(16, 0.8)]),
    _scaled([rectangle(0.9, 0.15)]),
]
