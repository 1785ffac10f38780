"""The images of a run, fixed at its start: a file on disk, of which a piece is read at a time.

It is an Arrow file with a record batch for each piece, so that neither its size nor the number of
pieces matters to the memory of those that read it.
"""

from __future__ import annotations

import hashlib
import itertools
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

from lowres_d2.own_files import own_path
from lowres_d2.predictor.scale.arrow import pa
from lowres_d2.predictor.scale.places import Place, Source

import numpy as np

NAME = "images.arrow"
_SCHEMA = pa.schema(
    {
        "file_name": pa.string(),
        "path": pa.binary(),
        "image_id": pa.int64(),
        "start": pa.int64(),
        "length": pa.int64(),
    }
)
_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd")


class Manifest:
    """The places of a run's images.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __getitem__(self, piece: int) -> list[Place]:
        """The places of a piece."""
        with self._opened() as file:
            columns = file.get_batch(piece).to_pydict()
        return list(itertools.starmap(Place, zip(*columns.values(), strict=True)))

    def _opened(self) -> pa.RecordBatchFileReader:
        # Not mapped into memory: pages of a file that others read count as theirs, too.
        return pa.ipc.open_file(pa.OSFile(str(self._path)))


def write_manifest(source: Source, size: int, path: Path) -> tuple[int, str]:
    """List the images of a source.

    Args:
        source: has the images.
        size: images of a piece.
        path: the file to write.

    Returns:
        The number of images, and a digest of all that was written.

    Raises:
        FileExistsError: there is a file of the user's.
        ValueError: there are no images, or two have one id.
    """
    with (
        own_path(path) as part,
        pa.OSFile(str(part), "wb") as file,
        pa.ipc.new_file(file, _SCHEMA, options=_OPTIONS) as writer,
    ):
        return _listed(source, size, lambda places: writer.write_batch(_batch(places)))


def digest_of(source: Source, size: int) -> tuple[int, str]:
    """What :func:`write_manifest` would return, without writing."""
    return _listed(source, size, lambda _: None)


def _listed(source: Source, size: int, use: Callable[[list[Place]], None]) -> tuple[int, str]:
    digest, number = hashlib.sha256(f"{source.kind} {source.column}".encode()), 0
    ids = array("q")
    for places in _pieces(source, size, ids):
        digest.update(repr(list(map(tuple, places))).encode())
        number += len(places)
        use(places)
    if not number:
        raise ValueError(f"--input {' '.join(source.given)}: has no images")
    ordered = np.sort(np.frombuffer(ids, np.int64))
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        raise ValueError(
            f"--input {' '.join(source.given)}: several images have the id {ordered[twice[0]]}: "
            "give each its own, or name another column with --id-column"
        )
    return number, digest.hexdigest()


def _pieces(source: Source, size: int, ids: array) -> Iterator[list[Place]]:
    """The places, numbered; ids of the user's, 8 bytes each, are added to those that are known."""

    def numbered() -> Iterator[Place]:
        for number, place in enumerate(source.places(), start=1):
            if place.image_id is None:
                yield place._replace(image_id=number)
                continue
            if not -(2**63) <= place.image_id < 2**63:
                raise ValueError(
                    f"{place.file_name}: its id {place.image_id} does not fit into 64 bits: give "
                    "images other ids"
                )
            ids.append(place.image_id)
            yield place

    places = numbered()
    while piece := list(itertools.islice(places, size)):
        yield piece


def _batch(places: list[Place]) -> pa.RecordBatch:
    columns = dict(zip(Place._fields, zip(*places, strict=True), strict=True))
    return pa.RecordBatch.from_pydict(columns, schema=_SCHEMA)
