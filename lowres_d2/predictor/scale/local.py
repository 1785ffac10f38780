"""The engine of one machine: processes that read images, and one with the model for each device."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from lowres_d2.data.processes import stop_opencv_threads
from lowres_d2.predictor.scale.batches import Batch, BatchReader
from lowres_d2.predictor.scale.detect import Detect
from lowres_d2.predictor.scale.job import Job

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

_SPAWN = multiprocessing.get_context("spawn")  # a forked process cannot use a GPU
_KILLED = (
    "a process {} was killed, perhaps for want of memory: start again to go on, with fewer "
    "--workers or a smaller --batch-size"
)
_LARGE = 2**20  # bytes from which on sharing memory takes less time than copying
_GLANCE = 0.5  # seconds between two looks at what other processes have done


class PieceStream(IterableDataset):
    """The batches of pieces; each process that iterates takes the next piece that none has.

    Args:
        reader: of pieces.
        pieces: their numbers.
    """

    def __init__(self, reader: BatchReader, pieces: np.ndarray) -> None:
        self._reader, self._pieces = reader, pieces
        self._taken = _SPAWN.Value("q", 0)

    def __iter__(self) -> Iterator[Batch]:
        while (piece := self._next()) is not None:
            yield from self._reader(piece)

    def _next(self) -> int | None:
        with self._taken.get_lock():
            number = self._taken.value
            self._taken.value += 1
        return int(self._pieces[number]) if number < len(self._pieces) else None


def predict_locally(
    job: Job, detect: Detect, devices: Sequence[str], workers: int, done: Callable[[int], Any]
) -> None:
    """Look at the pieces of a job.

    Args:
        job: what there is to do.
        detect: looks at batches in this process, where there is one device.
        devices: each gets a process with the model, if there are several.
        workers: processes that read, of each device; 0: the one with the model does.
        done: called with numbers of images that were looked at.

    Raises:
        ChildProcessError: a process was killed.
    """
    stream = PieceStream(job.reader, job.pieces)
    if len(devices) == 1:
        _look(stream, detect, job, workers, done)
        return
    counted, before = _SPAWN.Value("q", 0), 0
    given = {"mp_context": _SPAWN, "initializer": _inherit, "initargs": (stream, counted)}
    with ProcessPoolExecutor(len(devices), **given) as pool:
        looking = [pool.submit(_look_on, device, job, workers) for device in devices]
        while looking:
            ended, looking = wait(looking, _GLANCE, FIRST_EXCEPTION)
            before, number = counted.value, counted.value - before
            done(number)
            try:
                for process in ended:
                    process.result()
            except BrokenProcessPool:
                raise ChildProcessError(_KILLED.format("with the model")) from None


_inherited: tuple[PieceStream, Any]


def _inherit(*shared: Any) -> None:
    """Locks come to a process at its start, or not at all."""
    global _inherited
    _inherited = shared


def _look_on(device: str, job: Job, workers: int) -> None:
    """Look at batches in a process of its own, which ends with the one that has started it."""
    stream, counted = _inherited
    parent = multiprocessing.parent_process()

    def done(number: int) -> None:
        if not parent.is_alive():
            os._exit(1)  # it was killed; another start has its own processes
        with counted.get_lock():
            counted.value += number

    _look(stream, job.detect(device), job, workers, done)


def _look(
    stream: PieceStream, detect: Detect, job: Job, workers: int, done: Callable[[int], Any]
) -> None:
    """Look at batches of a stream until it ends."""
    stop_opencv_threads()  # before the workers are forked
    loader = DataLoader(
        stream,
        batch_size=None,
        collate_fn=_shared,
        num_workers=workers,
        in_order=False,  # pieces may come in any order
        worker_init_fn=stop_opencv_threads,
        generator=torch.Generator(),
    )
    collector = job.collector()
    try:
        for batch in loader:
            done(collector.add(detect(batch | {"image": np.asarray(batch["image"])})))
    except RuntimeError as error:
        if "DataLoader worker (pid" in str(error):  # not those that a worker raised
            raise ChildProcessError(_KILLED.format("that reads images")) from error
        raise


def _shared(batch: Batch) -> dict[str, Any]:
    """Large images go from process to process as tensors, which share their memory."""
    image = batch["image"]
    return batch | {"image": torch.from_numpy(image)} if image.nbytes >= _LARGE else batch
