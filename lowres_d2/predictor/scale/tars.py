"""Images in tar files, such as shards of WebDataset: found once, then read by their bytes."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from lowres_d2.data.image import ENDINGS
from lowres_d2.predictor.scale.places import Place, names_of, place_of


def places_in_tars(files: Sequence[str]) -> Iterator[Place]:
    """The members that are images by their endings, named ``shard.tar/member.jpg``.

    Raises:
        ValueError: a file is no tar, is compressed, or ends early.
    """
    names = names_of(files)
    for file in files:
        for member in _members(file):
            if member.isfile() and Path(member.name).suffix.lower() in ENDINGS:
                name = f"{names[file]}/{member.name}"
                yield place_of(name, os.path.abspath(file), None, member.offset_data, member.size)


def _members(file: str) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                yield member
                tar.members.clear()  # or they would all be kept
    except tarfile.TarError as error:
        raise ValueError(
            f"{file}: is no complete, uncompressed tar ({error}): write it again, without gzip"
        ) from None


def read_tars(places: Sequence[Place], _: str) -> Iterator[bytes]:
    """The bytes of members, in order.

    Args:
        places: of the members.
    """
    path, file = b"", None
    try:
        for place in places:
            if file is None or place.path != path:
                if file is not None:
                    file.close()
                path, file = place.path, open(place.path, "rb")  # noqa: SIM115
            file.seek(place.start)
            yield file.read(place.length)
    finally:
        if file is not None:
            file.close()
