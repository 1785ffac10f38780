"""One image file: what its header says, and whether its pixels can be read.

Sizes are (width, height): ``stored`` as in the file, ``shown`` after EXIF's orientation is applied,
which is how Detectron2 reads images.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lowres_d2.data.datasets.coco import is_file
from lowres_d2.data.image import load_image

import numpy as np
from PIL import Image

_ORIENTATION = 0x0112  # EXIF tag; 1 is upright, 5 to 8 swap width and height
# Bytes may follow the end marker: it is searched for in so many at the end of the file.
_TAIL = 4096
_END = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}  # of a complete file
_DRAFT = 8  # JPEG can be decoded at 1/8 of its size: all bits are read, few pixels computed
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
        ends: whether the file has the end marker of its format; True for formats not checked.
        blank: whether all pixels are equal; only known if all were decoded.
        content: hash of the pixels as read; only known if all were decoded.
    """

    bytes: int
    problem: str | None = None
    stored: tuple[int, int] = (0, 0)
    orientation: int = 1
    format: str = ""
    mode: str = ""
    frames: int = 1
    ends: bool = True
    blank: bool = False
    content: bytes = b""

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height after EXIF's orientation."""
        return self.stored[::-1] if self.orientation >= 5 else self.stored


def look_at(path: Path, level: str) -> ImageFile:
    """Read an image file to the given level.

    Args:
        path: image file.
        level: ``header`` only; ``draft`` decodes, JPEG at 1/8 of its size; ``full`` decodes as in
            training.
    """
    there = is_file(path)
    size = path.stat().st_size if there else 0
    if not size:
        return ImageFile(0, "is empty" if there else "is not there")
    try:
        with Image.open(path) as image:
            facts = {
                "stored": image.size,  # before a draft changes it
                "format": image.format or "",
                "mode": image.mode,
                # MPO is a camera's JPEG with further images attached, of which none is read.
                "frames": getattr(image, "n_frames", 1) if image.format != "MPO" else 1,
                "ends": _ends(path, image.format or "", size),
            }
            if level == "draft":
                image.draft(None, tuple(side // _DRAFT for side in image.size))
                image.load()
            orientation = _orientation(image)
        if level == "full":
            pixels = load_image(str(path), "RGB")
            # The first row alone rules out almost every image.
            first = pixels[:1, :1]
            facts["blank"] = bool((pixels[:1] == first).all() and (pixels == first).all())
            # With the shape: 2x8 and 4x4 pixels may be the same bytes.
            digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
            digest.update(np.ascontiguousarray(pixels))
            facts["content"] = digest.digest()
    except Exception as error:  # broken files can make Pillow's plug-ins raise anything
        return ImageFile(size, (str(error).splitlines() or [type(error).__name__])[0])
    return ImageFile(size, orientation=orientation, **facts)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 if it is missing or invalid, as image readers take it."""
    try:
        # The PNG class's own getexif would decode the image to find a tag behind the pixels.
        found = Image.Image.getexif(image).get(_ORIENTATION, 1)
    except Exception:  # broken EXIF data can raise anything
        return 1
    return found if found in range(1, 9) else 1


def _ends(path: Path, form: str, size: int) -> bool:
    if form not in _END:
        return True
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL))
        return _END[form] in file.read()
