"""Training events: scalars, images and histograms, kept by a storage and written by writers.

Code anywhere in a model or a hook puts values into the storage that is open at that moment:

    with EventStorage() as storage:
        storage.put_scalar("loss", 0.3)
        storage.step()
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

import torch
from detectron2.utils.file_io import PathManager
from fvcore.common.history_buffer import HistoryBuffer

__all__ = [
    "CommonMetricPrinter",
    "EventStorage",
    "EventWriter",
    "JSONWriter",
    "TensorboardXWriter",
    "get_event_storage",
    "has_event_storage",
]

_open_storages: list[EventStorage] = []


def get_event_storage() -> EventStorage:
    """The innermost storage that is open (``with EventStorage()``)."""
    assert _open_storages, "no EventStorage is open: use this inside `with EventStorage():`"
    return _open_storages[-1]


def has_event_storage() -> bool:
    """Whether a storage is open."""
    return bool(_open_storages)


class EventStorage:
    """What happened at which iteration."""

    def __init__(self, start_iter: int = 0):
        """Start empty at iteration `start_iter`."""
        self._histories: defaultdict[str, HistoryBuffer] = defaultdict(HistoryBuffer)
        self._smoothing_hints: dict[str, bool] = {}
        self._latest: dict[str, tuple[float, int]] = {}
        self._iter = start_iter
        self._prefix = ""
        self._vis_data: list[tuple[str, Any, int]] = []
        self._histograms: list[dict[str, Any]] = []

    def put_image(self, img_name: str, img_tensor: Any) -> None:
        """Keep an image until a writer takes it.

        Args:
            img_name: name.
            img_tensor: (3, H, W), RGB: uint8, or float in [0, 1].
        """
        self._vis_data.append((img_name, img_tensor, self._iter))

    def put_scalar(
        self, name: str, value: Any, smoothing_hint: bool = True, cur_iter: int | None = None
    ) -> None:
        """Keep a scalar.

        Args:
            name: name, to which the current scope is prefixed.
            value: number.
            smoothing_hint: whether writers show a median of recent values; always the same for
                one name.
            cur_iter: iteration of the value; None for the storage's.
        """
        name, value = self._prefix + name, float(value)
        hint = self._smoothing_hints.setdefault(name, smoothing_hint)
        assert hint == smoothing_hint, f"scalar {name!r} had smoothing_hint={hint} before"
        iteration = self._iter if cur_iter is None else cur_iter
        self._histories[name].update(value, iteration)
        self._latest[name] = (value, iteration)

    def put_scalars(
        self, *, smoothing_hint: bool = True, cur_iter: int | None = None, **kwargs: Any
    ) -> None:
        """`put_scalar` of each keyword argument."""
        for name, value in kwargs.items():
            self.put_scalar(name, value, smoothing_hint=smoothing_hint, cur_iter=cur_iter)

    def put_histogram(self, hist_name: str, hist_tensor: torch.Tensor, bins: int = 1000) -> None:
        """Keep the histogram of a tensor until a writer takes it.

        Args:
            hist_name: name.
            hist_tensor: values, any shape.
            bins: number of equal bins from the least to the largest value.
        """
        values = hist_tensor.detach().float().cpu()
        low, high = values.min().item(), values.max().item()
        edges = torch.linspace(low, high, steps=bins + 1)
        self._histograms.append(
            {
                "tag": hist_name,
                "min": low,
                "max": high,
                "num": values.numel(),
                "sum": values.sum().item(),
                "sum_squares": values.square().sum().item(),
                "bucket_limits": edges[1:].tolist(),
                "bucket_counts": torch.histc(values, bins=bins).tolist(),
                "global_step": self._iter,
            }
        )

    def history(self, name: str) -> HistoryBuffer:
        """All values of a scalar; KeyError if there is none."""
        if name not in self._histories:
            raise KeyError(f"no scalar {name!r} in the storage; it has {sorted(self._histories)}")
        return self._histories[name]

    def histories(self) -> dict[str, HistoryBuffer]:
        """Name to history, of all scalars."""
        return self._histories

    def latest(self) -> dict[str, tuple[float, int]]:
        """Name to (latest value, its iteration), of all scalars."""
        return self._latest

    def latest_with_smoothing_hint(self, window_size: int = 20) -> dict[str, tuple[float, int]]:
        """As `latest`, where scalars to be smoothed have the median over recent iterations.

        Args:
            window_size: number of iterations that are recent.
        """
        smoothed = dict(self._latest)
        for name, (_, iteration) in self._latest.items():
            if self._smoothing_hints[name]:
                recent = self.count_samples(name, window_size)
                smoothed[name] = (self._histories[name].median(recent), iteration)
        return smoothed

    def count_samples(self, name: str, window_size: int = 20) -> int:
        """Number of values in the `window_size` iterations that end with the latest value."""
        values = self.history(name).values()
        oldest = values[-1][1] - window_size
        count = 0
        while count < len(values) and values[-1 - count][1] > oldest:
            count += 1
        return count

    def smoothing_hints(self) -> dict[str, bool]:
        """Name to whether writers smooth it, of all scalars."""
        return self._smoothing_hints

    def step(self) -> None:
        """Advance to the next iteration; scalars that are not put again keep their latest value."""
        self._iter += 1

    @property
    def iter(self) -> int:
        """Iteration; during a training iteration, the number of finished ones."""
        return self._iter

    @iter.setter
    def iter(self, val: int) -> None:
        self._iter = int(val)

    @property
    def iteration(self) -> int:
        """Old name of `iter`."""
        return self._iter

    def __enter__(self) -> EventStorage:
        _open_storages.append(self)
        return self

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        assert _open_storages.pop() is self, "EventStorages must be closed in reverse order"

    @contextmanager
    def name_scope(self, name: str) -> Iterator[None]:
        """Within this context `name/` is prefixed to the names of scalars."""
        outer, self._prefix = self._prefix, name.rstrip("/") + "/"
        try:
            yield
        finally:
            self._prefix = outer

    def clear_images(self) -> None:
        """Forget the images; a writer does this once it has them."""
        self._vis_data = []

    def clear_histograms(self) -> None:
        """Forget the histograms; a writer does this once it has them."""
        self._histograms = []


class EventWriter:
    """Base class of what takes events out of the open storage."""

    def write(self) -> None:
        """Write what is new."""
        raise NotImplementedError

    def close(self) -> None:
        """Release files; nothing is written after this."""


def _new_scalars(
    storage: EventStorage, window_size: int, after: int
) -> dict[str, tuple[float, int]]:
    latest = storage.latest_with_smoothing_hint(window_size)
    return {name: (value, at) for name, (value, at) in latest.items() if at > after}


class JSONWriter(EventWriter):
    """Appends scalars to a file, one json object per line and iteration."""

    def __init__(self, json_file: str, window_size: int = 20):
        """Open the file.

        Args:
            json_file: path; lines are appended to an existing file.
            window_size: iterations over which scalars to be smoothed are smoothed.
        """
        self._file_handle = PathManager.open(json_file, "a", encoding="utf-8")
        self._window_size = window_size
        self._last_write = -1

    def write(self) -> None:
        """Write the scalars put since the last time, under the iteration of each."""
        by_iteration: defaultdict[int, dict[str, float]] = defaultdict(dict)
        new = _new_scalars(get_event_storage(), self._window_size, self._last_write)
        for name, (value, iteration) in new.items():
            by_iteration[iteration][name] = value
        for iteration in sorted(by_iteration):
            line = json.dumps({**by_iteration[iteration], "iteration": iteration}, sort_keys=True)
            self._file_handle.write(line + "\n")
            self._last_write = iteration
        self._file_handle.flush()
        # Not every handler's file is one of this machine.
        with suppress(AttributeError, OSError):
            os.fsync(self._file_handle.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file_handle.close()


class TensorboardXWriter(EventWriter):
    """Writes scalars, images and histograms for TensorBoard."""

    def __init__(self, log_dir: str, window_size: int = 20, **kwargs: Any):
        """Take the settings; no file is made before the first event.

        Args:
            log_dir: folder.
            window_size: iterations over which scalars to be smoothed are smoothed.
            **kwargs: of `torch.utils.tensorboard.SummaryWriter`.
        """
        self._window_size = window_size
        self._writer_args = {"log_dir": log_dir, **kwargs}
        self._last_write = -1

    @cached_property
    def _writer(self) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(**self._writer_args)

    def write(self) -> None:
        """Write what is new, and clear the storage's images and histograms."""
        storage = get_event_storage()
        new = _new_scalars(storage, self._window_size, self._last_write)
        for name, (value, iteration) in new.items():
            self._writer.add_scalar(name, value, iteration)
            self._last_write = max(self._last_write, iteration)
        for name, image, iteration in storage._vis_data:
            self._writer.add_image(name, image, iteration)
        storage.clear_images()
        for histogram in storage._histograms:
            self._writer.add_histogram_raw(**histogram)
        storage.clear_histograms()

    def close(self) -> None:
        """Close the files, if any event came."""
        if "_writer" in self.__dict__:
            self._writer.close()


class CommonMetricPrinter(EventWriter):
    """Logs one line: time left, iteration, losses, times, learning rate, memory.

    Scalars are shown whose names contain "loss" or "[metric]".
    """

    def __init__(self, max_iter: int | None = None, window_size: int = 20):
        """Take the settings.

        Args:
            max_iter: iterations of the training, for the time left.
            window_size: iterations over which losses and times are smoothed.
        """
        self.logger = logging.getLogger("detectron2.utils.events")
        self._max_iter = max_iter
        self._window_size = window_size
        self._last_write: tuple[int, float] | None = None  # iteration, time

    def write(self) -> None:
        """Log the line; nothing once training has reached its end."""
        storage = get_event_storage()
        if storage.iter == self._max_iter:
            return
        names = list(storage.histories())
        eta = self._seconds_left(storage)
        fields = [
            f"eta: {datetime.timedelta(seconds=int(eta))}" if eta is not None else "",
            f"iter: {storage.iter}",
            *(f"{n}: {self._median(storage, n):.4g}" for n in names if "loss" in n),
            *(f"{n}: {self._median(storage, n):.4g}" for n in names if "[metric]" in n),
            *self._times(storage),
            f"lr: {storage.history('lr').latest():.5g}" if "lr" in names else "lr: N/A",
        ]
        if torch.cuda.is_available():
            fields.append(f"max_mem: {torch.cuda.max_memory_allocated() / 2**20:.0f}M")
        self.logger.info("  ".join(field for field in fields if field))

    def _median(self, storage: EventStorage, name: str) -> float:
        return storage.history(name).median(storage.count_samples(name, self._window_size))

    def _times(self, storage: EventStorage) -> Iterator[str]:
        for name in ("time", "data_time"):
            if name in storage.histories():
                history = storage.history(name)
                mean = history.avg(storage.count_samples(name, self._window_size))
                yield f"{name}: {mean:.4f}  last_{name}: {history.latest():.4f}"

    def _seconds_left(self, storage: EventStorage) -> float | None:
        if self._max_iter is None:
            return None
        iterations_left = self._max_iter - storage.iter - 1
        seconds = None
        if "time" in storage.histories():
            seconds = storage.history("time").median(1000) * iterations_left
            storage.put_scalar("eta_seconds", seconds, smoothing_hint=False)
        elif self._last_write is not None:
            # Nobody measures iterations: from the time between two lines.
            iteration, then = self._last_write
            pace = (time.perf_counter() - then) / max(storage.iter - iteration, 1)
            seconds = pace * iterations_left
        self._last_write = (storage.iter, time.perf_counter())
        return seconds
