"""Decodes an image file to the values that are stored in it, at their full depth.

Pillow reads grey images of any depth, but takes only the upper 8 bits of 16-bit colours, which
OpenCV reads in full. Arrays of numpy (.npy) are (H, W) or (H, W, C).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from lowres_d2.data.image.bands import (
    check_all_bands,
    has_palette,
    is_tiff,
    read_bands,
    unread_tiff,
    with_grey_between,
)
from lowres_d2.data.image.files import (
    MAX_PIXELS,
    UnfitImageError,
    check_pixels,
    load_pixels,
    open_image,
)

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

_NUMPY = b"\x93NUMPY"
# TIFF tags: bits of a value, what 0 means, and what kind of number it is.
_BITS, _PHOTOMETRIC, _KIND = 258, 262, 339
_WHITE_IS_ZERO, _UNSIGNED, _SIGNED = 0, 1, 2
# Whether bands are stored one after the other.
_PLANES, _SEPARATE = 284, 2


@dataclass(frozen=True)
class Decoded:
    """An image as stored, before EXIF's rotation.

    Attributes:
        values: (H, W, C), any type of number; channels are in the order of the file, or RGB.
        top: the largest value that the file's depth can hold; None: that is not known.
        mode: Pillow's mode, or an array's type, for messages.
        orientation: EXIF orientation, 1 to 8; 1 is upright, 5 to 8 swap width and height.
    """

    values: np.ndarray
    top: int | None
    mode: str
    orientation: int = 1

    @property
    def upright(self) -> np.ndarray:
        """The values after EXIF's rotation."""
        return turned(self.values, self.orientation)


def decode(file: IO[bytes], convert: str | None, max_pixels: int | None = MAX_PIXELS) -> Decoded:
    """Decode an image.

    Args:
        file: an open file.
        convert: Pillow mode to which images of 8 bits are converted, "RGB" or "L"; None: their
            own channels.
        max_pixels: the most pixels that the image may have; None: any number.

    Raises:
        OSError: it is not an image, or it is broken. Pillow raises other errors for some files:
            SyntaxError and ValueError.
    """
    array = _read_array(file, max_pixels)
    if array is not None:
        return array
    tiff = is_tiff(file)
    bands = read_bands(file, max_pixels) if tiff and convert is None else None
    if bands is not None:
        return Decoded(*bands)
    file.seek(0)
    try:
        return _read_with_pillow(file, convert, max_pixels)
    except UnidentifiedImageError:
        if tiff:
            raise unread_tiff() from None
        raise


def decode_pillow(
    image: Image.Image, convert: str | None, max_pixels: int | None = MAX_PIXELS
) -> Decoded:
    """Values of an image that Pillow holds, or has opened: of 16-bit colours the upper 8 bits.

    Args:
        image: stays open.
        convert: as for :func:`decode`.
        max_pixels: likewise.

    Raises:
        OSError: its file is broken. Pillow raises other errors for some files: SyntaxError and
            ValueError.
    """
    check_pixels(*image.size, max_pixels)
    return _decoded(image, convert)


def _read_with_pillow(file: IO[bytes], convert: str | None, max_pixels: int | None) -> Decoded:
    with open_image(file, max_pixels) as image:
        return _decoded(image, convert, file)


def _decoded(image: Image.Image, convert: str | None, file: IO[bytes] | None = None) -> Decoded:
    tiles = str(getattr(image, "tile", ""))  # of the file; empty once it is decoded
    stated = orientation_of(image) if image.format == "TIFF" else None
    if "'raw'" in tiles and _tag(image, _PLANES) == _SEPARATE and _tag(image, _BITS) == 16:
        raise UnfitImageError(
            "is a TIFF of 16-bit colours band by band, of which Pillow takes each byte for a value",
            "image_format=null",
            " and pip install tifffile, or store them pixel by pixel",
        )
    load_pixels(image)
    orientation = orientation_of(image)
    signed_bytes = image.mode == "L" and _tag(image, _KIND) == _SIGNED
    if image.mode == "F" or image.mode.startswith("I") or signed_bytes:
        values, top = _deep_grey(image)
    else:
        values, top = _bytes(image, convert), 255
        if ";16" in tiles and file is not None:
            values, top = _deep_colours(file, image, values, top)
    if convert is None:
        check_all_bands(image, values.shape[2])
    if stated not in (None, orientation):  # Pillow rotates a TIFF itself, and then says 1
        values, orientation = turned(values, {6: 8, 8: 6}.get(stated, stated)), stated
    return Decoded(values, top, image.mode, orientation)


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation; 1 if it is missing or invalid, as image readers take it."""
    try:
        # The PNG class's own getexif would decode the image to find a tag behind the pixels.
        found = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # broken EXIF data can raise anything, and the pixels may be fine
        return 1
    return found if found in range(1, 9) else 1


def turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """An image (H, W, C) as an EXIF orientation says, as a view."""
    if orientation >= 5:  # rows become columns
        values = values.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return values[rows, columns]


def _bytes(image: Image.Image, convert: str | None) -> np.ndarray:
    """Values of 8 bits (H, W, C)."""
    if convert is None:
        if image.mode in ("P", "PA"):
            raise has_palette(image.mode)
        pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
        pixels = with_grey_between(pixels, 255) if image.mode == "LAB" else pixels
    elif image.mode == "LAB":
        raise UnfitImageError(f"mode LAB: cannot be converted to {convert}; store it as RGB")
    else:
        pixels = np.asarray(image.convert(convert))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _deep_grey(image: Image.Image) -> tuple[np.ndarray, int | None]:
    """Values (H, W, 1) of Pillow's modes I;16, I and F, and the largest of their depth.

    Also of L where a TIFF's bytes are signed, which Pillow takes for unsigned ones.
    """
    values = np.asarray(image)[..., None]
    if not hasattr(image, "tag_v2"):
        # Of PNG, PGM, JPEG 2000; Pillow scales those of fewer bits to 16.
        return values, None if image.mode == "F" else 65535
    if image.mode == "L":
        return values.view(np.int8), None
    bits = _tag(image, _BITS, 1)
    if image.mode == "F" or _tag(image, _KIND, _UNSIGNED) != _UNSIGNED:
        return values, None
    if bits == 32:
        values = values.view(np.uint32)  # of which Pillow makes signed ones
    top = 2**bits - 1
    return top - values if _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO else values, top


def _tag(image: Image.Image, tag: int, default: int | None = None) -> int | None:
    """Value of a TIFF's tag, of the first band where each has one."""
    value = getattr(image, "tag_v2", {}).get(tag, default)
    return value[0] if isinstance(value, tuple) else value


def _deep_colours(
    file: IO[bytes], image: Image.Image, values: np.ndarray, top: int
) -> tuple[np.ndarray, int]:
    """Values of 16 bits; of 8 bits, as given, where OpenCV reads something else than Pillow."""
    file.seek(0)
    content = np.frombuffer(file.read(), np.uint8)
    deep = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16 or deep.ndim != 3:
        return values, top
    deep = deep[..., [2, 1, 0, 3][: deep.shape[2]]]  # OpenCV has BGR
    if np.array_equal(deep >> 8, np.asarray(image)):
        return deep, 65535
    return values, top


def array_header(file: IO[bytes]) -> tuple[tuple[int, ...], str] | None:
    """Shape and type of the array in a .npy file, None of other files; leaves it at its start.

    Raises:
        UnfitImageError: the array is no image.
    """
    is_array = file.read(len(_NUMPY)) == _NUMPY
    file.seek(0)
    if not is_array:
        return None
    read = {(1, 0): np.lib.format.read_array_header_1_0}
    version = np.lib.format.read_magic(file)
    shape, _, dtype = read.get(version, np.lib.format.read_array_header_2_0)(file)
    file.seek(0)
    _check_array(shape, dtype)
    return shape, dtype.name


def _check_array(shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise UnfitImageError where an array is no image."""
    if len(shape) not in (2, 3) or 0 in shape or dtype.kind not in "buif":
        raise UnfitImageError(
            f"is an array of shape {shape} and type {dtype}: expected numbers of shape (height, "
            "width) or (height, width, channels)"
        )


def _read_array(file: IO[bytes], max_pixels: int | None) -> Decoded | None:
    """An array of numpy, never one that pickle would load; None: the file is something else."""
    header = array_header(file)
    if header is None:
        return None
    (height, width, *_), _ = header
    check_pixels(width, height, max_pixels)
    return decode_array(np.load(file, allow_pickle=False))


def decode_array(values: np.ndarray, mode: str = "") -> Decoded:
    """An array (H, W) or (H, W, C) of numbers as an image.

    Args:
        values: its channels, in the order that a file would have: RGB.
        mode: "RGBA" where the fourth channel is alpha; empty: it is a channel like the others.

    Raises:
        UnfitImageError: it has another shape, or no numbers.
    """
    _check_array(values.shape, values.dtype)
    top = {"bool": 1, "uint8": 255, "uint16": 65535}.get(values.dtype.name)
    values = values if values.ndim == 3 else values[..., None]
    return Decoded(values, top, mode or values.dtype.name)
