"""Saves windows of an image as files that are read as the whole image is, whatever the settings.

PNG holds 8 bits with or without alpha, a palette, and 16 bits of grey; arrays (.npy) hold what has
no depth, or that of its type. The rest (12 bits, CMYK, L*a*b*, colours with an infrared channel,
bands in pages) is a TIFF of the image's own kind: as an array it would be scaled or converted
otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lowres_d2.data.crops.tiff import CMYK, GREY, LAB, RGB, YCBCR, Kind, write_tiff
from lowres_d2.data.image.bands import with_grey_between
from lowres_d2.data.image.decode import decode_array
from lowres_d2.data.image.files import beyond_limit
from lowres_d2.structures import Window

import numpy as np
from PIL import ExifTags, Image

Save = Callable[[Window, Path], str]  # from a window and a name without its ending to a file's

_PNG = ("1", "L", "LA", "P", "RGB", "RGBA")
_BITS, _PHOTOMETRIC, _SAMPLES, _EXTRAS, _NUMBER = 258, 262, 277, 338, 339  # TIFF tags
_ALPHA = 2
# Of files that are no TIFF.
_KINDS = {
    "CMYK": Kind(CMYK),
    "LAB": Kind(LAB),
    "RGB": Kind(RGB),
    "RGBA": Kind(RGB, [_ALPHA]),
    "RGBX": Kind(RGB, [0]),
    "YCbCr": Kind(YCBCR),
}


def png_holds(image: Image.Image) -> bool:
    """Whether a PNG of Pillow's pixels has all that is in an image's file."""
    if image.format != "TIFF":
        deep_colours = image.mode.startswith("RGB") and ";16" in str(getattr(image, "tile", ""))
        return not deep_colours and (image.mode in _PNG or image.mode.startswith("I"))
    tags: Any = image.tag_v2
    if tags.get(ExifTags.Base.Orientation, 1) != 1:  # Pillow turns these itself
        return False
    if image.mode == "P":
        return True
    samples = tags.get(_SAMPLES, 1)
    return (
        image.mode in _PNG
        and {*_numbers(tags, _BITS, 1)} == {1 if image.mode == "1" else 8}
        and {*_numbers(tags, _NUMBER, 1)} == {1}
        and _numbers(tags, _EXTRAS) in ((), (_ALPHA,))
        and samples == len(image.getbands())
        # Pages of one channel each are bands.
        and (samples > 1 or getattr(image, "n_frames", 1) == 1)
    )


def kind_of(image: Image.Image) -> Kind:
    """What the channels of an image's file are."""
    if image.format != "TIFF":
        return _KINDS.get(image.mode, Kind())
    tags: Any = image.tag_v2
    # A reader's values begin at black, also where the file's begin at white (0).
    photometric = tags.get(_PHOTOMETRIC, GREY) or GREY
    return Kind(photometric, _numbers(tags, _EXTRAS), tags.get(_SAMPLES, 1) == 1)


def reading_mode(image: Image.Image) -> str | None:
    """The mode in which the values of an image are decoded: None where it may have more bands."""
    one = getattr(image, "n_frames", 1) == 1 and len(image.getbands()) == 1
    return "L" if one and image.mode[0] in "FI" else None  # which Pillow reads at full depth


def pixel_saver(pixels: Image.Image) -> Save:
    """Saves windows of Pillow's pixels as PNG files."""

    def save(window: Window, path: Path) -> str:
        path = path.with_name(f"{path.name}.png")
        with beyond_limit(window.x1 - window.x0, window.y1 - window.y0):
            part = pixels.crop(tuple(window))
        part.save(path)
        return path.name

    return save


def value_saver(values: np.ndarray, top: int | None, kind: Kind | None) -> Save:
    """Saves windows of decoded values.

    Args:
        values: (H, W, C).
        top: the largest one of their depth; None: that is not known.
        kind: of the channels; None: Pillow does not read the image.
    """
    channels = values.shape[2]
    # As an array, any three channels are RGB.
    colour = kind.photometric if kind else GREY
    alike = colour == {1: GREY, 3: RGB}.get(channels, None if kind else GREY)
    if alike and top == decode_array(values[:1, :1]).top:
        deep_grey = values.dtype == np.uint16 and channels == 1
        return _png_saver(values) if deep_grey or _is_bytes(values) else array_saver(values)
    kind = kind or Kind(GREY, [0] * (channels - 1))
    bits = values.dtype.itemsize * 8 if top is None else top.bit_length()
    if kind.photometric == LAB:
        values = with_grey_between(values, 2**bits - 1)
    pages = Kind(kind.photometric, kind.extras, kind.pages and channels > 1)

    def save(window: Window, path: Path) -> str:
        path = path.with_name(f"{path.name}.tif")
        write_tiff(path, _part(values, window), bits, pages)
        return path.name

    return save


def array_saver(values: np.ndarray) -> Save:
    """Saves windows of an array as arrays."""

    def save(window: Window, path: Path) -> str:
        path = path.with_name(f"{path.name}.npy")
        np.save(path, _part(values, window))
        return path.name

    return save


def _png_saver(values: np.ndarray) -> Save:
    def save(window: Window, path: Path) -> str:
        path = path.with_name(f"{path.name}.png")
        part = np.ascontiguousarray(_part(values, window), values.dtype.newbyteorder("="))
        Image.fromarray(part[..., 0] if part.shape[2] == 1 else part).save(path)
        return path.name

    return save


def _is_bytes(values: np.ndarray) -> bool:
    return values.dtype == np.uint8 and values.shape[2] in (1, 3)


def _part(values: np.ndarray, window: Window) -> np.ndarray:
    return values[window.y0 : window.y1, window.x0 : window.x1]


def _numbers(tags: Any, tag: int, *default: int) -> tuple[int, ...]:
    found = tags.get(tag, default)
    return tuple(found) if isinstance(found, tuple) else (found,)
