"""Reads image files: rotated as EXIF says, with an error for files that cannot be decoded.

Shapes: (H, W, C) uint8, 0..255.
"""

from __future__ import annotations

import contextlib

import numpy as np
from detectron2.data.detection_utils import convert_PIL_to_numpy
from detectron2.utils.file_io import PathManager
from PIL import Image, ImageOps


def load_image(path: str, form: str) -> np.ndarray:
    """Like Detectron2's ``read_image``, but raises an error for an image that cannot be decoded.

    Upstream reads the EXIF orientation first and suppresses all errors there. For a PNG that step
    decodes the pixels, so that a broken PNG comes out black.

    Args:
        path: image file, or anything that the PathManager resolves.
        form: channel order, "BGR" or "RGB", or another Pillow mode such as "L".

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it is not an image, or it is broken. Pillow raises other errors for some files:
            SyntaxError, ValueError, and DecompressionBombError for one that is too large.
    """
    with PathManager.open(path, "rb") as file:
        image = Image.open(file)
        image.load()
        # Broken EXIF data can raise anything, and the pixels may be fine all the same.
        with contextlib.suppress(Exception):
            ImageOps.exif_transpose(image, in_place=True)
        return convert_PIL_to_numpy(image, form)
