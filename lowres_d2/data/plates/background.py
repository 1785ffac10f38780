"""Backgrounds of the plates: procedural textures with clutter, or crops of photographs.

They are float32 RGB arrays (size, size, 3), about 0 to 255. They are drawn from an image's
appearance stream, and do not influence where its objects are. Lengths are given for images of
256 px and scale with the image.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

from lowres_d2.data.plates.glyphs import rectangle, rotate

import cv2
import numpy as np

_PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
_LONGEST_PHOTO_SIDE = 1024  # photographs are kept in memory
_SUBPIXEL_BITS = 4
_SKIES = np.array([[120, 165, 215], [180, 200, 220], [205, 205, 205], [225, 190, 160]], float)
_SURFACES = np.array(
    [
        [110, 110, 112],  # asphalt
        [165, 160, 152],  # concrete
        [95, 125, 60],  # grass
        [60, 85, 50],  # leaves
        [150, 85, 65],  # brick
        [190, 165, 120],  # sand
        [215, 208, 195],  # plaster
        [100, 80, 65],  # soil
    ],
    float,
)


def fill_polygon(image: np.ndarray, corners: np.ndarray, value: float | tuple) -> None:
    """Fill a convex polygon given in continuous pixel coordinates (pixel j covers [j, j + 1))."""
    # For OpenCV pixel centres are at integers, and `shift` bits of each are its fraction.
    fixed_point = np.round((corners - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillConvexPoly(image, fixed_point, value, lineType=cv2.LINE_8, shift=_SUBPIXEL_BITS)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def value_noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """Noise of random smoothness about 0, float32 (size, size, 3).

    Octaves are summed from coarse to fine; those from 16 cells on are grey, as in nature.
    """
    persistence = rng.uniform(0.5, 0.9)
    amplitude, cells = rng.uniform(15, 40), 4
    field = rng.uniform(-0.5, 0.5, (2, 2, 3)).astype(np.float32) * np.float32(amplitude)
    while cells <= size // 2:
        channels = 3 if cells < 16 else 1
        octave = rng.random((channels, cells, cells), dtype=np.float32) - np.float32(0.5)
        field = cv2.resize(field, (cells, cells), interpolation=cv2.INTER_LINEAR)
        field += np.float32(amplitude) * cv2.merge(list(octave) * (3 // channels))
        amplitude, cells = amplitude * persistence, cells * 2
    return cv2.resize(field, (size, size), interpolation=cv2.INTER_LINEAR)


def _near(rng: np.random.Generator, palette: np.ndarray, spread: float = 22) -> np.ndarray:
    """A random colour close to one of a palette, with random brightness; float32."""
    color = palette[rng.integers(len(palette))] * rng.uniform(0.6, 1.15)
    return np.clip(color + rng.uniform(-spread, spread, 3), 0, 255).astype(np.float32)


def _thing_color(rng: np.random.Generator) -> tuple[float, ...]:
    """A colour of clutter: mostly muted, sometimes as bright as a plate's."""
    if rng.random() < 0.3:
        return tuple(rng.uniform(0, 255, 3))
    return tuple(map(float, _near(rng, _SURFACES)))


def _backdrop(rng: np.random.Generator, size: int) -> np.ndarray:
    """A wall or meadow from edge to edge, or sky above ground; uint8 (size, size, 3)."""
    rows = np.tile(_near(rng, _SURFACES), (size, 1))
    if rng.random() < 0.6:
        horizon = int(rng.uniform(0.3, 0.8) * size)
        sky = _near(rng, _SKIES)
        haze = np.linspace(0, rng.uniform(0, 0.5), horizon)[:, None]
        rows[:horizon] = sky + haze * (235 - sky)
    rows = rows[:, None].astype(np.uint8)
    return cv2.resize(rows, (size, size), interpolation=cv2.INTER_NEAREST)


def _add_facade(rng: np.random.Generator, image: np.ndarray) -> None:
    """A grid of windows or bricks: straight, evenly spaced edges, like the glyphs' strokes."""
    size = len(image)
    cell_height, cell_width = (_log_uniform(rng, 10, 48) * size / 256 for _ in range(2))
    x0, y0 = rng.uniform(0, size * 0.7, 2)
    columns, rows = rng.integers(2, 7, 2)
    shift = rng.choice([0.0, 0.5])  # bricks are laid with an offset, windows are not
    color, fill = _thing_color(rng), rng.uniform(0.55, 0.92) / 2
    for row in range(rows):
        for column in range(columns):
            center = [x0 + (column + shift * (row % 2)) * cell_width, y0 + row * cell_height]
            fill_polygon(image, rectangle(fill * cell_width, fill * cell_height) + center, color)


def _add_clutter(rng: np.random.Generator, image: np.ndarray) -> None:
    """One distractor: a block, an ellipse, a wire, or a patch of stripes."""
    size = len(image)
    color = _thing_color(rng)
    extent = _log_uniform(rng, 6, 120) * size / 256
    center, angle = rng.uniform(0, size, 2), rng.uniform(0, math.pi)
    kind = rng.integers(4)
    if kind == 0:
        block = rectangle(extent / 2, extent / 2 * rng.uniform(0.1, 1))
        fill_polygon(image, rotate(block, angle) + center, color)
    elif kind == 1:
        axes = (extent / 2, extent * rng.uniform(0.2, 0.5))
        ellipse = (tuple(center), (2 * axes[0], 2 * axes[1]), math.degrees(angle))
        cv2.ellipse(image, ellipse, color, -1, cv2.LINE_8)
    elif kind == 2:
        far = rng.uniform(0, size, 2)
        ends = [tuple(int(v) for v in point) for point in (center, far)]
        cv2.line(image, *ends, color, int(rng.integers(1, 5)), cv2.LINE_8)
    else:
        stripes = int(rng.integers(2, 9))
        for j in range(stripes):
            stripe = rectangle(extent / 2, extent / 32, (j - stripes / 2) * extent / 8)
            fill_polygon(image, rotate(stripe, angle) + center, color)


def procedural_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A procedural outdoor scene; values may lie slightly outside 0 to 255."""
    things = _backdrop(rng, size)
    if rng.random() < 0.4:
        _add_facade(rng, things)
    for _ in range(rng.integers(4, 20) * size // 256):
        _add_clutter(rng, things)
    image = value_noise(rng, size)
    return cv2.add(image, things, dst=image, dtype=cv2.CV_32F)


def list_photos(folder: str | Path) -> list[Path]:
    """The photographs of a folder, sorted by name."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of photographs for the backgrounds")
    photos = sorted(p for p in folder.iterdir() if p.suffix.lower() in _PHOTO_SUFFIXES)
    if not photos:
        raise FileNotFoundError(
            f"{folder}: has no photographs; expected files {', '.join(sorted(_PHOTO_SUFFIXES))}"
        )
    return photos


# At most 64 x 3 MiB, by the longest side above.
@lru_cache(maxsize=64)
def _read_photo(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path}: cannot be read as an image; repair or remove it")
    scale = _LONGEST_PHOTO_SIDE / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    # OpenCV reads BGR.
    return np.ascontiguousarray(image[..., ::-1])


def photo_background(rng: np.random.Generator, size: int, photos: list[Path]) -> np.ndarray:
    """A random crop of a random photograph, at a random zoom, perhaps mirrored."""
    photo = _read_photo(photos[rng.integers(len(photos))])
    height, width = photo.shape[:2]
    side = max(1, int(min(size / rng.uniform(0.6, 1.4), height, width)))
    y, x = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    crop = photo[y : y + side, x : x + side]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    filter_ = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return cv2.resize(crop, (size, size), interpolation=filter_).astype(np.float32)
