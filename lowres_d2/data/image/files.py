"""Opens image files: regular ones only, and none with more pixels than a limit."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import IO

from detectron2.utils.file_io import PathManager
from PIL import Image, UnidentifiedImageError

# Endings of the image files that are looked for in folders.
ENDINGS = (
    ".bmp",
    ".jp2",
    ".jpeg",
    ".jpg",
    ".npy",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
_WARNED = 1024**3 // 4 // 3  # pixels, from which on Pillow warns of an image
# Twice as many, from which on it refuses one: 178,956,970.
MAX_PIXELS = 2 * _WARNED
# Pillow's limit is a variable of its module, which is taken off while a header or a large image is
# read.
_limit_is_off = threading.Lock()


class UnfitImageError(ValueError):
    """An image that these settings do not read; the message says which one would.

    Args:
        fault: what the image is.
        setting: setting of ``ImageReader`` with the value that would read it; empty: there is none.
        more: follows it in the message.
    """

    def __init__(self, fault: str, setting: str = "", more: str = "") -> None:
        self.fault, self.setting, self._more = fault, setting, more
        super().__init__(self.advice("dataloader.train.mapper"))

    def advice(self, holder: str) -> str:
        """The message, for a recipe that has these settings in ``holder``."""
        if not self.setting:
            return self.fault
        return f"{self.fault}: set {holder}.{self.setting}{self._more}"


def readable_endings() -> dict[str, str]:
    """Format of each ending that Pillow reads; others it only writes, such as .pdf."""
    known = Image.registered_extensions()
    return {ending: form for ending, form in known.items() if form in Image.OPEN}


def open_regular(path: str) -> IO[bytes]:
    """Open a file to read its bytes.

    Args:
        path: a path, or anything that the PathManager resolves.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it is something else than a file: reading a pipe would wait forever.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError("is no regular file, but a folder, pipe or device")
    return PathManager.open(path, "rb")


def walk_images(folder: str | os.PathLike[str]) -> Iterator[str]:
    """Names of the image files in a folder and those below it, by their endings, one by one.

    They are relative to the folder, and sorted within each. Hidden ones are left out.

    Raises:
        OSError: a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = os.path.relpath(place, folder).replace(os.sep, "/")
        for name in sorted(files):
            if os.path.splitext(name)[1].lower() in ENDINGS and not name.startswith("."):
                yield name if relative == "." else f"{relative}/{name}"


def is_image(path: str | os.PathLike[str]) -> bool:
    """Whether the first bytes of a file are those of an image that Pillow knows."""
    try:
        with open_regular(str(path)) as file, open_image(file, max_pixels=None):
            return True
    except Exception:  # Pillow may raise anything for a file that is something else
        return False


@contextlib.contextmanager
def open_image(file: IO[bytes], max_pixels: int | None = MAX_PIXELS) -> Iterator[Image.Image]:
    """Read an image's header with Pillow.

    Args:
        file: an open file.
        max_pixels: the most pixels that an image may have; None: any number.

    Raises:
        UnfitImageError: it has more.
        OSError: it is not an image. Pillow raises other errors, too, for broken ones.
    """
    with _without_limit():
        try:
            image = Image.open(file)
        except UnidentifiedImageError:  # Pillow's message shows the file object
            raise UnidentifiedImageError("is of no format that Pillow reads") from None
    with image:
        check_pixels(*image.size, max_pixels)
        yield image


def load_pixels(image: Image.Image) -> None:
    """Decode an image of :func:`open_image`.

    Raises:
        OSError: its data are broken. Pillow raises other errors, too.
    """
    try:
        with beyond_limit(*image.size):
            image.load()
    except OSError as error:
        if "decoder error" not in str(error):
            raise
        raise OSError(f"its data are damaged or end too early, {error}") from None


@contextlib.contextmanager
def beyond_limit(width: int, height: int) -> Iterator[None]:
    """Take Pillow's limit off for what has this size, if that is over it.

    Pillow applies it again where it decodes a compressed TIFF, and where it crops.
    """
    if width * height <= _WARNED:
        yield
        return
    with _without_limit():
        yield


@contextlib.contextmanager
def _without_limit() -> Iterator[None]:
    with _limit_is_off:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def check_pixels(width: int, height: int, max_pixels: int | None) -> None:
    """Raise for an image that is larger than the limit.

    Raises:
        UnfitImageError: names size, limit and the setting.
    """
    if max_pixels is not None and width * height > max_pixels:
        raise UnfitImageError(
            f"{width}x{height} are {width * height:,} pixels, over the limit of {max_pixels:,}",
            f"max_pixels={width * height}",
            ", if the file is right",
        )
