"""One generated image: first its layout (boxes and classes of the plates), then its pixels.

The layout has a random stream of its own, uses uniform doubles and arithmetic only, and is rounded
to 1/64 px: it is the same on every machine and with every library version. Everything else
(perspective, colours, light, noise) is drawn from a second stream.

Boxes are XYXY in pixels of the image, tight about the plate's outline. Images are uint8 RGB
(size, size, 3).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

from lowres_d2.data.plates.background import (
    fill_polygon,
    photo_background,
    procedural_background,
)
from lowres_d2.data.plates.glyphs import (
    DECOYS,
    FACE_SCALE,
    GLYPHS,
    OUTLINES,
    PLATE_CLASSES,
    Polygon,
    rectangle,
    rotate,
)

import cv2
import numpy as np

_GRID = 64  # layouts are rounded to 1/64 px
_PLACING_ATTEMPTS = 12
_PAINTS = np.array(
    [
        [200, 30, 30],
        [30, 70, 190],
        [235, 200, 30],
        [240, 240, 240],
        [30, 140, 70],
        [240, 130, 20],
        [25, 25, 25],
        [120, 60, 150],
    ],
    dtype=float,
)
# BT.601
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class SceneSettings:
    """Settings of a generated set of images.

    Attributes:
        image_size: side of the square images, in pixels.
        size_range: smallest and largest sqrt(area) of a plate in pixels; sizes are log-uniform.
        max_plates: an image has from 1 to this many plates with a class.
        max_decoys: an image has from 0 to this many plates without a class.
    """

    image_size: int = 256
    size_range: tuple[float, float] = (6.0, 96.0)
    max_plates: int = 8
    max_decoys: int = 2

    def __post_init__(self) -> None:
        low, high = self.size_range
        if not 1 <= low <= high <= 0.75 * self.image_size:
            raise ValueError(
                f"size_range {low} to {high}: expected 1 <= smallest <= largest <= "
                f"{0.75 * self.image_size:g} (3/4 of the image's side)"
            )
        if self.max_plates < 1 or self.max_decoys < 0:
            raise ValueError(
                f"max_plates {self.max_plates}, max_decoys {self.max_decoys}: expected at least 1 "
                "and at least 0"
            )

    def as_dict(self) -> dict:
        """Plain values, for fingerprints."""
        return asdict(self) | {"size_range": [float(v) for v in self.size_range]}


@dataclass(frozen=True)
class Plate:
    """One plate: its box (x0, y0, x1, y1), and its class (None: a decoy)."""

    box: tuple[float, float, float, float]
    label: int | None

    @property
    def size(self) -> float:
        """Side of the square with the box's area."""
        x0, y0, x1, y1 = self.box
        return math.sqrt((x1 - x0) * (y1 - y0))


@dataclass
class Scene:
    """An image to render: its plates, largest first, and the random stream for its pixels."""

    settings: SceneSettings
    plates: list[Plate]
    appearance: np.random.Generator = field(repr=False)


def _on_grid(value: float) -> float:
    return round(value * _GRID) / _GRID


def _overlaps(a: tuple, b: tuple, gap: float = 1.0) -> bool:
    return (
        a[0] < b[2] + gap and b[0] < a[2] + gap and a[1] < b[3] + gap and b[1] < a[3] + gap
    )  # fmt: skip


def lay_out(seed: int, split: int, index: int, settings: SceneSettings) -> Scene:
    """Draw boxes and classes of the plates of image ``index``."""
    draw = np.random.default_rng([seed, split, index, 0]).random

    def between(low: float, high: float) -> float:
        return low + draw() * (high - low)

    size = settings.image_size
    num_plates = 1 + int(draw() * settings.max_plates)
    num_decoys = int(draw() * (settings.max_decoys + 1))
    low, high = (math.log(v) for v in settings.size_range)

    candidates = []
    for k in range(num_plates + num_decoys):
        side, stretch = math.exp(between(low, high)), math.exp(between(-0.1, 0.1))
        label = int(draw() * len(PLATE_CLASSES)) if k < num_plates else None
        candidates.append((_on_grid(side * stretch), _on_grid(side / stretch), label))
    # Large ones first, while there is room.
    candidates.sort(key=lambda c: c[0] * c[1], reverse=True)

    plates: list[Plate] = []
    for width, height, label in candidates:
        for _ in range(_PLACING_ATTEMPTS):
            x = _on_grid(between(1, size - 1 - width))
            y = _on_grid(between(1, size - 1 - height))
            box = (x, y, x + width, y + height)
            if not any(_overlaps(box, plate.box) for plate in plates):
                plates.append(Plate(box, label))
                break
    return Scene(settings, plates, np.random.default_rng([seed, split, index, 1]))


def _homography(corners: np.ndarray) -> np.ndarray:
    """The homography from the square [-1, 1]^2 to four corners."""
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
    return cv2.getPerspectiveTransform(square, corners.astype(np.float32)).astype(float)


def _project(homography: np.ndarray, points: Polygon) -> Polygon:
    projected = points @ homography[:, :2].T + homography[:, 2]
    return projected[:, :2] / projected[:, 2:]


def _view(rng: np.random.Generator, outline: Polygon, box: tuple) -> np.ndarray:
    """A random oblique view of a plate, whose outline fills ``box`` exactly; a homography."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) + rng.uniform(-0.18, 0.18, (4, 2))
    view = _homography(rotate(corners, rng.uniform(-0.17, 0.17)))
    seen = _project(view, outline)
    low, high = seen.min(axis=0), seen.max(axis=0)
    scale = (np.array(box[2:]) - box[:2]) / (high - low)
    into_box = np.diag([*scale, 1.0])
    into_box[:2, 2] = box[:2] - scale * low
    return into_box @ view


@lru_cache
def _ramp(length: int) -> np.ndarray:
    """``length`` values from -1 to 1, float32."""
    return np.linspace(-1, 1, length, dtype=np.float32)


def _coverage(
    shape: tuple[int, int], ground: int, polygons: list[tuple[Polygon, int]]
) -> np.ndarray:
    """Coverage of each pixel, 0 to 1: polygons of 0 or 255, painted in order on a ground."""
    height, width = shape
    # Filling is up to half a sample too wide, so small plates get more samples.
    samples = 8 if max(shape) < 40 else 4
    canvas = np.full((height * samples, width * samples), ground, np.uint8)
    for polygon, value in polygons:
        fill_polygon(canvas, polygon * samples, value)
    small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(255)


def _two_paints(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Colours of rim and face that differ in brightness."""
    while True:
        pair = _PAINTS[rng.integers(len(_PAINTS), size=2)] + rng.normal(0, 18, (2, 3))
        rim, face = np.clip(pair, 0, 255)
        if abs((rim - face) @ _LUMA) > 60:
            return rim.astype(np.float32), face.astype(np.float32)


def _paint_post(rng: np.random.Generator, image: np.ndarray, plate: Plate) -> None:
    """The post that a plate stands on."""
    x0, _, x1, y1 = plate.box
    half_width = plate.size * rng.uniform(0.02, 0.05)
    length = plate.size * rng.uniform(0.5, 3)
    center = np.array([(x0 + x1) / 2, y1 + length / 2 - 1])
    post = rectangle(max(half_width, 0.5), length / 2) + center
    fill_polygon(image, post, tuple(rng.uniform(50, 170) + rng.uniform(-8, 8, 3)))


def _paint_plate(rng: np.random.Generator, image: np.ndarray, plate: Plate) -> None:
    """Paint one plate into a float32 image, in place."""
    outline = OUTLINES[rng.integers(len(OUTLINES))]
    view = _view(rng, outline, plate.box)
    if plate.label is None:
        glyph = DECOYS[rng.integers(len(DECOYS))]
    else:
        glyph = GLYPHS[PLATE_CLASSES[plate.label]]
    rim, face = _two_paints(rng)

    x0, y0 = (math.floor(v) - 1 for v in plate.box[:2])
    x1, y1 = (math.ceil(v) + 1 for v in plate.box[2:])
    shape, origin = (y1 - y0, x1 - x0), np.array([x0, y0])
    polygons = [outline, FACE_SCALE * outline, *glyph]
    seen = _project(view, np.concatenate(polygons)) - origin
    contour, inner, *strokes = np.split(seen, np.cumsum([len(p) for p in polygons[:-1]]))
    inside = _coverage(shape, 0, [(contour, 255)])
    ink = _coverage(shape, 255, [(inner, 0), *((stroke, 255) for stroke in strokes)])

    # Light falls unevenly on a plate, and weather wears its paint.
    slope_x, slope_y, level = rng.uniform([-0.18, -0.18, 0.85], [0.18, 0.18, 1.1]).astype(
        np.float32
    )
    light = level + slope_y * _ramp(shape[0])[:, None] + slope_x * _ramp(shape[1])[None, :]
    wear = cv2.resize(rng.normal(0, 6, (7, 7)).astype(np.float32), shape[::-1])
    paint = cv2.merge([light * (f + ink * (r - f)) + wear for r, f in zip(rim, face, strict=True)])

    # Rows and columns of the margin may lie outside of the image.
    top, left = max(0, -y0), max(0, -x0)
    target = image[max(0, y0) : y1, max(0, x0) : x1]
    window = (slice(top, top + target.shape[0]), slice(left, left + target.shape[1]))
    target += cv2.merge([inside[window]] * 3) * (paint[window] - target)


def _through_camera(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Defocus, uneven exposure, white balance and sensor noise: float32 (overwritten) to uint8.

    Works in place where it can: allocating memory is most of the cost.
    """
    size = len(image)
    if rng.random() < 0.4:
        cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.7), dst=image)
    slope_x, slope_y = rng.uniform(-0.25, 0.25, 2).astype(np.float32)
    light = 1 + slope_x * _ramp(size)[None, :] + slope_y * _ramp(size)[:, None]
    balance = rng.uniform(0.6, 1.15) * rng.uniform(0.95, 1.05, 3)
    image *= cv2.merge([light * np.float32(gain) for gain in balance])
    noise = rng.standard_normal((size, size), dtype=np.float32)
    noise *= np.float32(rng.uniform(1, 7))
    return cv2.add(image, cv2.merge([noise] * 3), dtype=cv2.CV_8U)


def paint_scene(scene: Scene, photos: list[Path] | None = None) -> np.ndarray:
    """The image of a scene; ``photos`` replace the procedural backgrounds."""
    rng, size = scene.appearance, scene.settings.image_size
    image = photo_background(rng, size, photos) if photos else procedural_background(rng, size)
    for plate in scene.plates:
        if rng.random() < 0.5:
            _paint_post(rng, image, plate)
    for plate in scene.plates:
        _paint_plate(rng, image, plate)
    return _through_camera(rng, image)
