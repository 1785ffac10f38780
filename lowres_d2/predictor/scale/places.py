"""Where an image of an input is: a file, or a part of one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """One image.

    Attributes:
        file_name: what results call it.
        path: of the file that it is, or is in; bytes, since names of files need not be text.
        image_id: of a COCO json file or of a column of numbers; None: its place in the input,
            counted from 1.
        start: its first byte in the file, or its row.
        length: its bytes.
    """

    file_name: str
    path: bytes
    image_id: int | None = None
    start: int | None = None
    length: int | None = None


@dataclass(frozen=True)
class Source:
    """The images of an input.

    Attributes:
        kind: how they are read, a key of :data:`lowres_d2.predictor.scale.contents.READERS`.
        places: lists them, always in the same order.
        column: of the images in tables.
        given: what the user calls it.
    """

    kind: str
    places: Callable[[], Iterator[Place]]
    column: str = ""
    given: tuple[str, ...] = ()


def names_of(files: Sequence[str]) -> dict[str, str]:
    """What results call files that hold several images: without folders, unless these differ."""
    short = {file: Path(file).name for file in files}
    return short if len({*short.values()}) == len(short) else dict(zip(files, files, strict=True))


def place_of(name: str, path: str, *more: int | None) -> Place:
    """A place with names that may hold bytes that are no text, which results show as escapes."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return Place(text, os.fsencode(path), *more)
