"""An image file as pixels: turned as its EXIF orientation says, or an error.

Shapes: (H, W, C) uint8, 0..255.
"""

from __future__ import annotations

import contextlib

import numpy as np
from detectron2.data.detection_utils import convert_PIL_to_numpy
from detectron2.utils.file_io import PathManager
from PIL import Image, ImageOps


def load_image(path: str, form: str) -> np.ndarray:
    """Detectron2's ``read_image``, with an error for whatever cannot be decoded.

    Upstream's asks for the orientation first and drops all errors there; a PNG is decoded for it,
    so that a broken one comes out black.

    Args:
        path: of the file, or anything the PathManager knows.
        form: order of the channels, "BGR" or "RGB", or another mode of Pillow's, as "L".

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it is no image, or broken. Pillow has other errors for some files: SyntaxError,
            ValueError, and DecompressionBombError for one that is too large.
    """
    with PathManager.open(path, "rb") as file:
        image = Image.open(file)
        image.load()
        # Broken EXIF data fail in any way, and say nothing against the pixels.
        with contextlib.suppress(Exception):
            ImageOps.exif_transpose(image, in_place=True)
        return convert_PIL_to_numpy(image, form)
