"""TIFF files with any number of bands, read with ``tifffile`` where that is installed.

It is no dependency of this project: ``pip install tifffile``, and ``imagecodecs`` for compressions
such as LZW and JPEG (the extra ``large``). Pillow reads one, three or four bands of 8 bits, and one
of more bits.
"""

from __future__ import annotations

from typing import IO, Any

from lowres_d2.data.image.files import UnfitImageError, check_pixels

import numpy as np
from PIL import ExifTags, Image

_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
_BANDS = 277  # TIFF tag: values of a pixel
_SETTING = "image_format=null"
_MORE = " and pip install tifffile, or store the image as .npy"


def is_tiff(file: IO[bytes]) -> bool:
    """Whether a file is a TIFF, by its first bytes; leaves it at its start."""
    start = file.read(4)
    file.seek(0)
    return start in _STARTS


def read_bands(
    file: IO[bytes], max_pixels: int | None
) -> tuple[np.ndarray, int | None, str, int] | None:
    """All bands of a TIFF file, stored pixel by pixel or one after the other.

    Returns:
        Values (H, W, C), the largest one of their depth (None: unknown), their type, and the EXIF
        orientation. None: there is no tifffile, or Pillow has to convert the file's YCbCr.

    Raises:
        UnfitImageError: its values are no channels, or too many.
    """
    try:
        import tifffile
    except ModuleNotFoundError:
        return None
    with tifffile.TiffFile(file) as tiff:
        series, page = tiff.series[0], tiff.pages[0]
        axes = series.axes
        kind, kinds = page.photometric, tifffile.PHOTOMETRIC
        check_pixels(page.imagewidth, page.imagelength, max_pixels)
        if kind == kinds.PALETTE:
            raise has_palette("P")
        if kind == kinds.YCBCR and not is_rgb_by_jpeg(page):
            return None
        if len(axes) not in (2, 3) or not {"Y", "X"} <= set(axes):
            raise UnfitImageError(
                f"is a TIFF of shape {series.shape} ({axes}): expected one image with bands"
            )
        values = np.moveaxis(_pixels(series), [axes.index("Y"), axes.index("X")], [0, 1])
        if values.dtype.kind not in "buif":
            raise UnfitImageError(f"is a TIFF of type {values.dtype}: expected real numbers")
        top = 2**page.bitspersample - 1 if values.dtype.kind in "bu" else None
        orientation = page.tags.valueof(ExifTags.Base.Orientation, 1)
    values = values if values.ndim == 3 else values[..., None]
    if kind == kinds.MINISWHITE and top is not None:
        values = top - values
    if kind == kinds.CIELAB and top is not None:
        values = with_grey_between(values, top)
    return values, top, values.dtype.name, orientation if orientation in range(1, 9) else 1


def with_grey_between(values: np.ndarray, top: int) -> np.ndarray:
    """L*a*b* of which grey has a* and b* in the middle of their range; and back.

    In files they are signed: of two almost grey pixels, one would have 0 and the other ``top``.

    Args:
        values: (H, W, C) unsigned, as stored.
        top: the largest one of their depth.
    """
    values = values.copy()
    values[..., 1:3] ^= values.dtype.type(top // 2 + 1)
    return values


def has_palette(mode: str) -> UnfitImageError:
    """The error for an image of indices, whose colours are elsewhere.

    Args:
        mode: Pillow's.
    """
    fault = f"mode {mode}: has a palette, so its values are no channels"
    return UnfitImageError(fault, "image_format=RGB")


def is_rgb_by_jpeg(page: Any) -> bool:
    """Whether tifffile's values of a page in YCbCr are RGB: JPEG's decoders convert them."""
    return "JP" in page.compression.name


def _pixels(series: Any) -> np.ndarray:
    try:
        return series.asarray()
    except ValueError as error:
        raise lacks_codec(error) or error from None


def lacks_codec(error: ValueError) -> UnfitImageError | None:
    """The error to raise where tifffile's says that it lacks a package; None for other ones."""
    if "imagecodecs" not in str(error):
        return None
    return UnfitImageError(
        f"is a TIFF whose compression needs another package ({error}): pip install imagecodecs "
        "(the extra 'large'), or store the image uncompressed or as .npy"
    )


def check_all_bands(image: Image.Image, channels: int) -> None:
    """Raise if a file of Pillow's holds more than the channels that it has read.

    Raises:
        UnfitImageError: names both numbers.
    """
    tags: Any = getattr(image, "tag_v2", {})
    bands = tags.get(_BANDS, 1) * getattr(image, "n_frames", 1)
    if image.format == "TIFF" and bands != channels:
        raise UnfitImageError(
            f"is a TIFF of {bands} bands, of which {channels} are read", _SETTING, _MORE
        )


def unread_tiff() -> UnfitImageError:
    """The error for a TIFF that Pillow refuses."""
    return UnfitImageError("is a TIFF of a kind that Pillow does not read", _SETTING, _MORE)
