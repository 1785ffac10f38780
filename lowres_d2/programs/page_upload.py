"""What the web page says of an uploaded file before any of its pixels are decoded."""

from __future__ import annotations

from lowres_d2.data.image import UnfitImageError
from lowres_d2.data.image.decode import array_header, orientation_of
from lowres_d2.data.image.files import check_pixels, open_image, open_regular

from PIL import Image

MAX_PIXELS = 25_000_000  # of an image: cameras have 24 million
MAX_BYTES = 100_000_000  # of a file: as many pixels of four bytes, not compressed


def notes_on(path: str) -> list[str]:
    """What one should know of an image file, as far as its header says.

    Args:
        path: of the file.

    Returns:
        Sentences; none for files whose header Pillow cannot read: the reader has other ways, or
        says what is wrong.

    Raises:
        UnfitImageError: it has more pixels than ``MAX_PIXELS``, or is an array that is no image.
    """
    try:
        with open_regular(path) as file:
            header = array_header(file)
            if header is None:
                with open_image(file, MAX_PIXELS) as image:
                    return _notes(image)
            (height, width, *_), _ = header
            check_pixels(width, height, MAX_PIXELS)
    except UnfitImageError:
        raise
    except Exception:  # broken files can raise anything
        pass
    return []


def _notes(image: Image.Image) -> list[str]:
    said = []
    if getattr(image, "is_animated", False):
        said.append("It has several frames or pages: the first one is used.")
    if orientation_of(image) != 1:
        said.append("EXIF rotates it.")
    return said
