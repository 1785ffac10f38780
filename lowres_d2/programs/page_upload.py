"""What the web page makes of an uploaded file: what its header says, and a copy if it is large."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory

from lowres_d2.data.image import UnfitImageError
from lowres_d2.data.image.decode import array_header, orientation_of
from lowres_d2.data.image.files import check_pixels, open_image, open_regular

from PIL import Image

MAX_PIXELS = 25_000_000  # of an image: cameras have 24 million
MAX_BYTES = 100_000_000  # of a file: as many pixels of four bytes, not compressed
QUICK = 1920 * 1080  # pixels, on which the slowest of the quick models takes about a second
_KEPT = ("L", "LA", "RGB", "RGBA")  # modes of Pillow that a copy has, too
_EIGHT_BITS = (*_KEPT, "1", "P", "PA", "CMYK", "YCbCr")
_ORIENTATION, _TURNED = 0x0112, 5  # EXIF's key, and from where on it swaps width and height


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


@contextlib.contextmanager
def quick_copy(path: str) -> Iterator[tuple[str, str]]:
    """A file of an image that detectors are quick on, and what to say of it.

    Args:
        path: of the image.

    Yields:
        The file, and empty text; of an image of more than ``QUICK`` pixels a smaller copy, which is
        there in the block alone. Deep images, and those that Pillow cannot read, have none.
    """
    with contextlib.ExitStack() as held:
        copy = said = None
        try:
            with open_regular(path) as file, open_image(file, MAX_PIXELS) as image:
                if image.width * image.height > QUICK and image.mode in _EIGHT_BITS:
                    folder = held.enter_context(TemporaryDirectory())
                    copy = str(Path(folder, Path(path).name))  # which messages name
                    said = _write_copy(image, copy)
        except Exception:  # broken files can raise anything: detectors will say what is wrong
            copy = None
        yield (copy, said) if copy and said else (path, "")


def _write_copy(image: Image.Image, path: str) -> str:
    """Write an image with ``QUICK`` pixels; returns a sentence that says so."""
    orientation = orientation_of(image)
    size = image.size
    scale = sqrt(QUICK / (size[0] * size[1]))
    wanted = tuple(max(round(side * scale), 1) for side in size)
    image.draft(None, wanted)  # of a JPEG: decode no more than is needed
    if image.mode not in _KEPT:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    small = image.resize(wanted, Image.Resampling.BOX)
    small.save(path, format="png", compress_level=1, exif=exif)
    width, height = size if orientation < _TURNED else size[::-1]
    return (
        f"This is a copy that detectors are quick on: the image has {width} x {height}, all of "
        "which lowres-d2 demo looks at."
    )


def _notes(image: Image.Image) -> list[str]:
    said = []
    if getattr(image, "is_animated", False):
        said.append("It has several frames or pages: the first one is used.")
    if orientation_of(image) != 1:
        said.append("EXIF rotates it.")
    return said
