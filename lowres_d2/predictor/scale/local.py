"""The engine of one machine: processes that read images, and one with the model for each device."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

from lowres_d2.data.processes import stop_opencv_threads
from lowres_d2.predictor.scale.batches import Batch, BatchReader
from lowres_d2.predictor.scale.detect import Detect
from lowres_d2.predictor.scale.shards import Collector

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset


class PieceStream(IterableDataset):
    """The batches of pieces; each process that iterates takes the next piece that none has.

    Args:
        reader: of pieces.
        pieces: their numbers.
    """

    def __init__(self, reader: BatchReader, pieces: np.ndarray) -> None:
        self._reader, self._pieces = reader, pieces
        self._taken = torch.zeros(1, dtype=torch.int64).share_memory_()
        self._lock = multiprocessing.get_context().Lock()

    def __iter__(self) -> Iterator[Batch]:
        while (piece := self._next()) is not None:
            yield from self._reader(piece)

    def _next(self) -> int | None:
        with self._lock:
            number = int(self._taken)
            self._taken += 1
        return int(self._pieces[number]) if number < len(self._pieces) else None


def predict_locally(
    stream: PieceStream,
    detect: Detect,
    collector: Collector,
    workers: int,
    done: Callable[[int], Any],
) -> None:
    """Look at all pieces of a stream.

    Args:
        stream: gives batches.
        detect: looks at them, in this process.
        collector: takes what was found.
        workers: processes that read; 0: this one does.
        done: called with the number of images that were looked at, batch after batch.
    """
    stop_opencv_threads()  # before the workers are forked
    loader = DataLoader(
        stream,
        batch_size=None,
        num_workers=workers,
        in_order=False,  # pieces may come in any order
        worker_init_fn=stop_opencv_threads,
        generator=torch.Generator(),
    )
    for batch in loader:
        done(collector.add(detect(_arrays(batch))))


def _arrays(batch: dict[str, Any]) -> Batch:
    """A batch whose arrays came through shared memory, as tensors."""
    return {key: x.numpy() if isinstance(x, torch.Tensor) else x for key, x in batch.items()}
