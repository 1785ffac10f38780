"""From a piece of a manifest to batches: dicts of arrays, of images of one shape each.

piece       ()              number of the piece
row         (N,)            places of the images in the piece
image       (N, C, H, W)    as the model takes them, 0 to 255
height      (N,)            of the images as they were given, as is width
broken_row  (M,)            places of images that cannot be used, and why
reason      (M,)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lowres_d2.data import BrokenImageError
from lowres_d2.predictor.inputs import Inputs
from lowres_d2.predictor.scale.contents import READERS, Content
from lowres_d2.predictor.scale.manifest import Manifest

import numpy as np

Batch = dict[str, np.ndarray]
_HELD = 4  # times a batch: images that wait for others of their shape


@dataclass(frozen=True)
class BatchReader:
    """Reads pieces.

    Args:
        manifest: has them.
        kind: of its places, a key of ``READERS``.
        column: of images in tables.
        inputs: makes the model's inputs.
        size: images of a batch.
    """

    manifest: Manifest
    kind: str
    column: str
    inputs: Inputs
    size: int

    def __call__(self, piece: int) -> Iterator[Batch]:
        """Batches with all images of a piece, which may be in another order."""
        places = self.manifest[piece]
        waiting = _Waiting(piece)
        contents = READERS[self.kind](places, self.column)
        for row, (place, content) in enumerate(zip(places, contents, strict=True)):
            try:
                shape = waiting.add(row, self._read(content, place.file_name))
            except BrokenImageError as error:
                waiting.broken[row] = str(error)
                continue
            if len(waiting.samples[shape]) == self.size:
                yield waiting.batch(shape)
            elif waiting.number >= _HELD * self.size:
                yield waiting.batch(waiting.fullest())
        while waiting.samples:
            yield waiting.batch(waiting.fullest())
        if waiting.broken:
            yield waiting.batch(None)

    def _read(self, content: Content, name: str) -> dict[str, Any]:
        if content is None:
            raise BrokenImageError(f"{name}: has no image")
        return self.inputs(content, name)


@dataclass
class _Waiting:
    """Images of a piece that are read, by their shape, and those that are broken."""

    piece: int
    samples: dict[Any, list[tuple[int, dict]]] = field(default_factory=lambda: defaultdict(list))
    broken: dict[int, str] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Of images that wait."""
        return sum(map(len, self.samples.values()))

    def add(self, row: int, sample: dict[str, Any]) -> Any:
        """Add an image; returns its shape and type."""
        shape = (tuple(sample["image"].shape), sample["image"].dtype)
        self.samples[shape].append((row, sample))
        return shape

    def fullest(self) -> Any:
        """The shape that most of them have."""
        return max(self.samples, key=lambda shape: len(self.samples[shape]))

    def batch(self, shape: Any) -> Batch:
        """Those of one shape, or of none, with all broken ones so far."""
        taken = self.samples.pop(shape, [])
        broken, self.broken = self.broken, {}
        images = [sample["image"].numpy() for _, sample in taken]
        return {
            "piece": np.array(self.piece),
            "row": np.array([row for row, _ in taken], np.int64),
            "image": np.stack(images) if images else np.zeros((0, 1, 1, 1), np.uint8),
            "height": np.array([sample["height"] for _, sample in taken], np.int64),
            "width": np.array([sample["width"] for _, sample in taken], np.int64),
            "broken_row": np.array([*broken], np.int64),
            "reason": np.array([*broken.values()], np.str_),
        }
