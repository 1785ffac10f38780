"""Shards of results: a parquet file for each piece, written whole or not at all.

A row is an image, in the order of the manifest. ``boxes`` are XYXY in pixels of the image of this
``height`` and ``width``, after EXIF's rotation where the recipe applies it; ``labels`` are numbers
of the classes, whose names are in the file's metadata. ``error`` says why an image has no results.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_d2.atomic import atomic_path
from lowres_d2.predictor.scale.arrow import pa, pq
from lowres_d2.predictor.scale.batches import Batch
from lowres_d2.predictor.scale.manifest import Manifest

import numpy as np

FOLDER = "detections"
SCHEMA = pa.schema(
    {
        "image_id": pa.int64(),
        "file_name": pa.string(),
        "height": pa.int32(),
        "width": pa.int32(),
        "boxes": pa.list_(pa.list_(pa.float32(), 4)),
        "scores": pa.list_(pa.float32()),
        "labels": pa.list_(pa.int32()),
        "error": pa.string(),
    }
)
_RUN = b"lowres_d2.run"


@dataclass(frozen=True)
class Shards:
    """The shards of a run.

    Args:
        folder: of the run.
        run: text that says what the run is of, which every shard has.
        classes: names.
    """

    folder: Path
    run: str
    classes: list[str]

    def path(self, piece: int) -> Path:
        """File of a piece."""
        return self.folder / FOLDER / f"part-{piece:06d}.parquet"

    def missing(self, number: int) -> np.ndarray:
        """The pieces of so many that have no shard.

        Raises:
            ValueError: a file in the place of a shard is none of this run.
        """
        return np.array([piece for piece in range(number) if not self._is_there(piece)], np.int64)

    def _is_there(self, piece: int) -> bool:
        path = self.path(piece)
        if not path.exists():
            return False
        try:
            metadata = pq.read_schema(path).metadata or {}
        except (pa.ArrowException, OSError) as error:
            raise unreadable(path, error) from None
        if metadata.get(_RUN, b"").decode() != self.run:
            raise ValueError(f"{path}: is no shard of this run: choose another --output")
        return True

    def write(self, piece: int, table: pa.Table) -> None:
        """Write the shard of a piece."""
        about = {_RUN: self.run, "classes": json.dumps(self.classes)}
        with atomic_path(self.path(piece), durable=True) as part:
            pq.write_table(table.replace_schema_metadata(about), part, compression="zstd")


def unreadable(path: Path, error: Exception) -> ValueError:
    """The error of a file in the place of a shard that cannot be read."""
    reason = " ".join(str(error).split())[:200]
    return ValueError(
        f"{path}: cannot be read ({reason}): if it is of this run, remove it, and its images are "
        "looked at again; otherwise choose another --output"
    )


class Collector:
    """Puts the results of batches together, whose pieces may come in any order, and writes shards.

    Args:
        manifest: of the run.
        shards: of the run.
    """

    def __init__(self, manifest: Manifest, shards: Shards) -> None:
        self._manifest, self._shards = manifest, shards
        self._open: dict[int, dict[int, dict[str, Any]]] = {}  # results by piece and row
        self._lengths: dict[int, int] = {}

    def add(self, found: Batch) -> int:
        """Add the results of a batch; returns of how many images."""
        piece = int(found["piece"])
        rows = self._open.setdefault(piece, {})
        if piece not in self._lengths:
            self._lengths[piece] = len(self._manifest[piece])
        before = len(rows)
        rows.update(_by_row(found))
        if len(rows) == self._lengths[piece]:
            self._write(piece)
        return len(rows) - before

    def _write(self, piece: int) -> None:
        rows, places = self._open.pop(piece), self._manifest[piece]
        del self._lengths[piece]
        ordered = [rows[row] for row in range(len(places))]
        counts = [len(row["scores"]) for row in ordered]
        ends = pa.array(np.cumsum([0, *counts]), pa.int32())

        def lists(name: str, kind: pa.DataType) -> pa.Array:
            values = np.concatenate([row[name] for row in ordered])
            flat = pa.array(values.ravel(), kind)
            if values.ndim == 2:
                flat = pa.FixedSizeListArray.from_arrays(flat, 4)
            return pa.ListArray.from_arrays(ends, flat)

        columns = {
            "image_id": [place.image_id for place in places],
            "file_name": [place.file_name for place in places],
            "boxes": lists("boxes", pa.float32()),
            "scores": lists("scores", pa.float32()),
            "labels": lists("labels", pa.int32()),
        } | {name: [row[name] for row in ordered] for name in ("height", "width", "error")}
        self._shards.write(piece, pa.Table.from_pydict(columns, SCHEMA))


def _by_row(found: Batch) -> dict[int, dict[str, Any]]:
    """The results of a batch by their rows in the piece."""
    cuts = itertools.pairwise([0, *np.cumsum(found["number"]).tolist()])
    images = zip(*(found[name].tolist() for name in ("row", "height", "width")), cuts, strict=True)
    rows = {
        row: {name: found[name][first:last] for name in ("boxes", "scores", "labels")}
        | {"height": height, "width": width, "error": None}
        for row, height, width, (first, last) in images
    }
    nothing = {
        "boxes": np.zeros((0, 4), np.float32),
        "scores": np.zeros(0, np.float32),
        "labels": np.zeros(0, np.int32),
        "height": None,
        "width": None,
    }
    broken = zip(found["broken_row"].tolist(), found["reason"].tolist(), strict=True)
    return rows | {row: nothing | {"error": reason} for row, reason in broken}
