"""Images of a data set that are parts of image files: tiles, of which a file has many.

Such a dataset dict has ``corner``: (x0, y0, x1, y1) in pixels of ``file_name``, as it is read. Its
``width``, ``height`` and boxes are those of the part.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def cut_corner(image: np.ndarray, record: Mapping) -> np.ndarray:
    """The part of an image file that a dataset dict is about; the same array if it is all of it.

    Args:
        image: (H, W, C), of the whole file.
        record: Detectron2's dataset dict.

    Raises:
        ValueError: the part reaches beyond the image.
    """
    if "corner" not in record:
        return image
    x0, y0, x1, y1 = record["corner"]
    height, width = image.shape[:2]
    if x1 > width or y1 > height:
        raise ValueError(
            f"is {width}x{height}, but the tile {x0}, {y0} to {x1}, {y1} of it is in the "
            "annotation file; correct the image or the file"
        )
    return image[y0:y1, x0:x1]
