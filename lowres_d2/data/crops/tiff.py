"""Writes uncompressed TIFF files of any depth and kind of channels, such as 12 bits or CMYK.

Values are (H, W, C). Tags and their numbers are those of TIFF 6.0.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

GREY, RGB, CMYK, YCBCR, LAB = 1, 2, 5, 6, 8
_PHOTOMETRIC, _SUBSAMPLING = 262, 530
_LONG = (256, 257, 273, 278, 279)  # tags of 32 bits; others have 16


class Kind(NamedTuple):
    """What the channels of an image are.

    Attributes:
        photometric: GREY, RGB, CMYK, YCBCR or LAB.
        extras: what the channels beyond those are: 0 unknown, 1 alpha that the others are
            multiplied with, 2 alpha.
        pages: whether each channel is an image of its own.
    """

    photometric: int = GREY
    extras: Sequence[int] = ()
    pages: bool = False


def write_tiff(path: Path, values: np.ndarray, bits: int, kind: Kind) -> None:
    """Write an image.

    Args:
        path: of the file.
        values: (H, W, C).
        bits: of a value; a multiple of 8 unless values are unsigned.
        kind: of the channels.
    """
    content, link = bytearray(b"II*\0" + bytes(4)), 4
    for page in np.split(values, values.shape[2] if kind.pages else 1, axis=2):
        start = len(content)
        content += _packed(page, bits)
        size = len(content) - start
        content += bytes(len(content) % 2)  # tags begin at even places
        entries = b""
        tags = _tags(page, bits, kind) | {273: [start], 279: [size]}
        for tag, numbers in sorted(tags.items()):
            packed = struct.pack(f"<{len(numbers)}{'I' if tag in _LONG else 'H'}", *numbers)
            if len(packed) > 4:
                place = len(content)
                content += packed
                packed = struct.pack("<I", place)
            form = 4 if tag in _LONG else 3
            entries += struct.pack("<HHI", tag, form, len(numbers)) + packed.ljust(4, b"\0")
        struct.pack_into("<I", content, link, len(content))  # the page before says where this is
        content += struct.pack("<H", len(tags)) + entries
        link = len(content)
        content += bytes(4)
    path.write_bytes(content)


def _tags(page: np.ndarray, bits: int, kind: Kind) -> dict[int, Sequence[int]]:
    height, width, channels = page.shape
    number = {"i": 2, "f": 3}.get(page.dtype.kind, 1)  # signed, floating point, unsigned
    tags = {
        256: [width],
        257: [height],
        258: [bits] * channels,
        259: [1],  # no compression
        _PHOTOMETRIC: [kind.photometric],
        277: [channels],
        278: [height],  # rows of its one strip
        339: [number] * channels,
    }
    if kind.extras:
        tags[338] = list(kind.extras)
    if kind.photometric == YCBCR:
        tags[_SUBSAMPLING] = [1, 1]
    return tags


def _packed(page: np.ndarray, bits: int) -> bytes:
    """Bytes of the values; each row begins with a byte of its own."""
    if bits == page.dtype.itemsize * 8:
        return page.astype(page.dtype.newbyteorder("<")).tobytes()
    places = np.arange(bits - 1, -1, -1)
    digits = (page.astype(np.uint64)[..., None] >> places.astype(np.uint64)) & 1
    return np.packbits(digits.astype(np.uint8).reshape(len(page), -1), axis=1).tobytes()
