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
    """All bands of a TIFF file, stored pixel by pixel or one after the other; None: no tifffile.

    Returns:
        Values (H, W, C), the largest one of their depth (None: unknown), their type, and the EXIF
        orientation.
    """
    try:
        import tifffile
    except ModuleNotFoundError:
        return None
    with tifffile.TiffFile(file) as tiff:
        series, page = tiff.series[0], tiff.pages[0]
        axes = series.axes
        check_pixels(page.imagewidth, page.imagelength, max_pixels)
        if len(axes) not in (2, 3) or not {"Y", "X"} <= set(axes):
            raise UnfitImageError(
                f"is a TIFF of shape {series.shape} ({axes}): expected one image with bands"
            )
        values = np.moveaxis(_pixels(series), [axes.index("Y"), axes.index("X")], [0, 1])
        top = 2**page.bitspersample - 1 if values.dtype.kind in "bu" else None
        orientation = page.tags.valueof(ExifTags.Base.Orientation, 1)
    values = values if values.ndim == 3 else values[..., None]
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and top is not None:
        values = top - values
    return values, top, values.dtype.name, orientation if orientation in range(1, 9) else 1


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
