"""TIFF files of several images, of which the first one is read, without their reduced copies."""

from __future__ import annotations

import logging
import mmap
from typing import IO

from lowres_d2.data.image.bands import is_tiff
from lowres_d2.data.image.files import open_image

from PIL import Image

_logger = logging.getLogger(__name__)
# TIFF tags that say what a page is, the second in files of before 1992.
_KIND, _OLD_KIND = 254, 255
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
# Whether it was said: in memory that is shared with processes that are forked, as loaders' are.
_said = mmap.mmap(-1, 1)


def warn_of_further_pages(file: IO[bytes], path: str) -> None:
    """Say once that a TIFF has further images; of which nothing is read.

    Args:
        file: an open file; it is left anywhere.
        path: its name.
    """
    if _said[0]:
        return
    number = count_pages(file)
    if number > 1:
        _said[0] = 1
        _logger.warning(
            "%s: is a TIFF of %d pages, of which the first one is read: store each as a file of "
            "its own, if they are images (said of the first such file only)",
            path,
            number,
        )


def count_pages(file: IO[bytes]) -> int:
    """Number of images of a TIFF, without masks and smaller copies of the first; 1 of other files.

    Args:
        file: an open file; it is left anywhere.
    """
    file.seek(0)
    if not is_tiff(file):
        return 1
    number = 1
    try:
        with open_image(file, max_pixels=None) as image:
            whole = image.size
            for k in range(1, getattr(image, "n_frames", 1)):
                image.seek(k)
                number += not _is_copy(image, whole)
    except Exception:  # the first image was read, and broken pages can raise anything
        return number
    return number


def _is_copy(page: Image.Image, whole: tuple[int, int]) -> bool:
    """Whether a page is a mask, or says or shows that it is the first one made smaller."""
    tags = getattr(page, "tag_v2", {})
    if tags.get(_KIND, 0) & (_REDUCED | _MASK) or tags.get(_OLD_KIND) == _OLD_REDUCED:
        return True
    (width, height), (full_width, full_height) = page.size, whole
    smaller = width < full_width and height < full_height
    # One pixel is the rounding of a size.
    return smaller and abs(width * full_height - height * full_width) <= max(whole)
