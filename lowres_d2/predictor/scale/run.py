"""A run of prediction in its folder: what it is of is fixed at its first start.

``predict.json`` says which images, model and score; ``images.arrow`` is the manifest. Another start
in the same folder goes on with the pieces that have no shard, and is refused where it would be of
something else.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_d2.engine.processes.folder_lock import folder_lock
from lowres_d2.own_files import check_own, own_path
from lowres_d2.predictor.scale.manifest import NAME, Manifest, digest_of, write_manifest
from lowres_d2.predictor.scale.model import Model
from lowres_d2.predictor.scale.places import Source
from lowres_d2.predictor.scale.shards import FOLDER as SHARDS
from lowres_d2.predictor.scale.shards import Shards

import numpy as np

ABOUT, BROKEN, COCO = "predict.json", "broken.jsonl", "detections.json"
SHARD_SIZE = 1000  # images
# What two starts of a run have in common, and what is said where they have not.
_SAME = {
    "input_digest": "other images",
    "weights_digest": "other weights",
    "recipe_digest": "another recipe",
    "score": "another --score",
    "shard_size": "another --shard-size",
}


@dataclass(frozen=True)
class Run:
    """A run that may start, or go on.

    Attributes:
        folder: of its files.
        about: the content of ``predict.json``.
    """

    folder: Path
    about: dict[str, Any]

    @property
    def manifest(self) -> Manifest:
        """Its images."""
        return Manifest(self.folder / NAME)

    @property
    def shards(self) -> Shards:
        """Its results."""
        same = json.dumps({key: self.about[key] for key in _SAME})
        return Shards(self.folder, same, self.about["classes"])

    @property
    def num_pieces(self) -> int:
        """Number of its shards."""
        return -(-self.about["images"] // self.about["shard_size"])

    @property
    def results(self) -> Path:
        """Folder of its shards."""
        return self.folder / SHARDS

    @property
    def broken_file(self) -> Path:
        """List of the images that cannot be used."""
        return self.folder / BROKEN

    def missing(self) -> np.ndarray:
        """The pieces that have no shard.

        Raises:
            ValueError: a file in the place of a shard is none of this run.
        """
        return self.shards.missing(self.num_pieces)

    def num_images(self, pieces: np.ndarray) -> int:
        """Number of images of some pieces, of which only the last one may have fewer."""
        size = self.about["shard_size"]
        last_lacks = size * self.num_pieces - self.about["images"]
        return len(pieces) * size - last_lacks * int(self.num_pieces - 1 in pieces)


@contextlib.contextmanager
def opened(
    folder: Path,
    source: Source,
    model: Model,
    classes: Sequence[str],
    score: float,
    shard_size: int | None,
) -> Iterator[Run]:
    """Begin a run in a folder, or go on with the one that is there; no other writes meanwhile.

    Args:
        folder: created if needed.
        source: lists the images.
        model: is to look at them.
        classes: its names of classes.
        score: lowest that is kept.
        shard_size: images of a shard; None: as at the first start, which takes ``SHARD_SIZE``.

    Raises:
        FileExistsError: there is a file of the user's.
        FolderInUse: another process writes into the folder.
        ValueError: there are no images, or the run that is there is of something else.
    """
    check_own(folder / name for name in (NAME, ABOUT, BROKEN, COCO))
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder / ".lock"):
        before = _read(folder / ABOUT)
        size = shard_size or before.get("shard_size", SHARD_SIZE)
        fixed = {
            "score": score,
            "shard_size": size,
            "weights_digest": model.weights_digest,
            "recipe_digest": model.recipe_digest,
        }
        _check_same(folder, before, fixed)
        if before:
            number, digest = digest_of(source, size)
            _check_same(folder, before, {"input_digest": digest}, number)
            if not (folder / NAME).exists():
                write_manifest(source, size, folder / NAME)
            yield Run(folder, before)
            return
        number, digest = write_manifest(source, size, folder / NAME)
        ids = list(model.identity.category_ids)
        about = {
            "images": number,
            "input": list(source.given),
            "weights": model.identity.weights,
            "classes": list(classes),
            "category_ids": ids or list(range(1, len(classes) + 1)),
            "input_digest": digest,
        } | fixed
        # Written last: a start that was killed before this has begun nothing.
        with own_path(folder / ABOUT) as part:
            part.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        yield Run(folder, about)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _check_same(
    folder: Path, before: dict[str, Any], now: dict[str, Any], images: int | None = None
) -> None:
    for key, value in now.items():
        if before and before[key] != value:
            then = f" ({before['images']:,} then, {images:,} now)" if images is not None else ""
            if isinstance(value, int | float):
                then = f" ({before[key]} then, {value} now)"
            raise ValueError(
                f"--output {folder}: was begun with {_SAME[key]}{then}: choose another folder"
            )
