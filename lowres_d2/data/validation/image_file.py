"""One image file: what its header says, and whether its pixels can be read.

Sizes are (width, height): ``stored`` as in the file, ``shown`` after EXIF's orientation is applied,
which is how Detectron2 reads images.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_d2.data.image import NARROW, ImageReader, UnfitImageError
from lowres_d2.data.image.decode import array_header, orientation_of
from lowres_d2.data.image.files import open_image, open_regular

import numpy as np

# Bytes may follow the end marker: it is searched for in so many at the end of the file.
_TAIL = 4096
_END = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}  # of a complete file
_DRAFTED = ("JPEG", "MPO")
_DRAFT = 8  # JPEG can be decoded at 1/8 of its size: all bits are read, few pixels computed
_ARRAY = "NPY"
LEVELS = ("header", "draft", "full")


@dataclass(frozen=True)
class ImageFile:
    """What is known about an image file.

    Attributes:
        bytes: size of the file; 0: it is missing or empty.
        problem: why it cannot be read, or None.
        stored: width and height in the file.
        orientation: EXIF orientation, 1 to 8.
        format: Pillow's format, such as "JPEG".
        mode: Pillow's mode, such as "RGB" or "I;16".
        frames: number of images in the file.
        spread: smallest and largest value after scaling to 0 to 255; only known of files with more
            than 8 bits that were decoded.
        ends: whether the file has the end marker of its format; True for formats not checked.
        unfit: whether the problem is one of settings: other ones would read it.
        blank: whether all pixels are equal; only known if all were decoded.
        moments: mean and mean square of each channel (2, C), from 0 to 255; only known if all
            pixels were decoded.
        content: hash of the pixels as read; only known if all were decoded.
    """

    bytes: int
    problem: str | None = None
    stored: tuple[int, int] = (0, 0)
    orientation: int = 1
    format: str = ""
    mode: str = ""
    frames: int = 1
    spread: tuple[float, float] | None = None
    ends: bool = True
    unfit: bool = False
    blank: bool = False
    moments: np.ndarray | None = None
    content: bytes = b""

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height after EXIF's orientation."""
        return self.stored[::-1] if self.orientation >= 5 else self.stored

    @property
    def is_narrow(self) -> bool:
        """Whether a deep file's values fill so little of their range that it is hardly theirs."""
        return self.spread is not None and self.spread[1] - self.spread[0] < NARROW


def look_at(path: Path, level: str, reader: ImageReader | None = None) -> ImageFile:
    """Read an image file to the given level.

    Args:
        path: image file.
        level: ``header`` only; ``draft`` decodes, JPEG at 1/8 of its size; ``full`` decodes as in
            training.
        reader: how training reads it; None: the default.
    """
    reader = reader or ImageReader()
    try:
        there = path.exists()
    except OSError:  # no file can have this name
        there = False
    if not there:
        return ImageFile(0, "is not there")
    size = path.stat().st_size if path.is_file() else 0
    if path.is_file() and not size:
        return ImageFile(0, "is empty")
    try:
        facts = _facts(path, level, reader)
        # Arrays have no header that says more than their values do.
        if level == "full" or facts["format"] == _ARRAY or _is_decoded(level, facts["format"]):
            facts |= _facts_of_pixels(reader.read(str(path)), level == "full")
        if facts["format"] in _END:
            facts["ends"] = _ends(path, facts["format"], size)
    except UnfitImageError as error:
        return ImageFile(size, str(error), unfit=True)
    except Exception as error:  # broken files can make Pillow's plug-ins raise anything
        return ImageFile(size, (str(error).splitlines() or [type(error).__name__])[0])
    return ImageFile(size, **facts)


def _is_decoded(level: str, form: str) -> bool:
    return level == "draft" and form not in _DRAFTED


def _facts(path: Path, level: str, reader: ImageReader) -> dict[str, Any]:
    """What the header says; a JPEG is decoded, too, at level draft."""
    with open_regular(str(path)) as file:
        array = array_header(file)
        if array is not None:
            (height, width, *_), dtype = array
            return {"stored": (width, height), "format": _ARRAY, "mode": dtype}
        with open_image(file, reader.max_pixels) as image:
            orientation = orientation_of(image)
            facts = {
                "stored": image.size,  # before a draft changes it
                "format": image.format or "",
                "mode": image.mode,
                "orientation": orientation,
                # MPO is a camera's JPEG with further images attached, of which none is read.
                "frames": getattr(image, "n_frames", 1) if image.format != "MPO" else 1,
            }
            # Pillow rotates a TIFF itself, and its header is that of the rotated image.
            if image.format == "TIFF" and orientation >= 5:
                facts["stored"] = image.size[::-1]
            if level == "draft" and image.format in _DRAFTED:
                image.draft(None, tuple(side // _DRAFT for side in image.size))
                image.load()
            return facts


def _facts_of_pixels(pixels: np.ndarray, full: bool) -> dict[str, Any]:
    """What the pixels (H, W, C) say."""
    facts: dict[str, Any] = {}
    if pixels.dtype != np.uint8:
        facts["spread"] = (float(pixels.min()), float(pixels.max()))
    if full:
        # The first row alone rules out almost every image.
        first = pixels[:1, :1]
        facts["blank"] = bool((pixels[:1] == first).all() and (pixels == first).all())
        # With the shape: 2x8 and 4x4 pixels may be the same bytes.
        digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(pixels))
        channels = pixels.reshape(-1, pixels.shape[2]).astype(np.float32)
        facts["moments"] = np.stack([channels.mean(0), (channels**2).mean(0)])
        facts["content"] = digest.digest()
    return facts


def _ends(path: Path, form: str, size: int) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL))
        return _END[form] in file.read()
