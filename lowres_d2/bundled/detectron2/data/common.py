"""Data sets that wrap others: mapped, serialised, made iterable, grouped by orientation."""

from __future__ import annotations

import contextlib
import copy
import itertools
import logging
import pickle
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.utils.serialize import PicklableWrapper
from torch.utils import data as torchdata

__all__ = ["AspectRatioGroupedDataset", "DatasetFromList", "MapDataset", "ToIterableDataset"]

logger = logging.getLogger(__name__)


class MapDataset(torchdata.Dataset):
    """Elements of a data set passed through a function, such as a DatasetMapper.

    Where the function returns None, an element drawn at random takes the place of that one (for a
    map-style data set) or the element is left out (for an iterable one; the result is iterable).

    Args:
        dataset: map-style or iterable.
        map_func: one element in, one element or None out; a lambda is fine.
    """

    def __new__(cls, dataset: torchdata.Dataset | Sequence, map_func: Callable[[Any], Any]):
        if isinstance(dataset, torchdata.IterableDataset):
            return _MapIterableDataset(dataset, map_func)
        return super().__new__(cls)

    def __getnewargs__(self):
        return self._dataset, self._map_func

    def __init__(self, dataset: torchdata.Dataset | Sequence, map_func: Callable[[Any], Any]):
        self._dataset = dataset
        self._map_func = PicklableWrapper(map_func)
        self._rng = random.Random(42)
        self._unusable: set[int] = set()

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, idx: int) -> Any:
        wanted, failures = int(idx), 0
        current = wanted
        while (mapped := self._map_func(self._dataset[current])) is None:
            self._unusable.add(current)
            failures += 1
            if failures % 3 == 0:
                logger.warning(
                    f"The mapper returned None for {failures} elements in place of {wanted}"
                )
            current = self._draw_usable()
        self._unusable.discard(current)
        return mapped

    def _draw_usable(self) -> int:
        """Any index but the unusable ones, each equally likely: one draw, as upstream."""
        usable = len(self) - len(self._unusable)
        if usable == 0:
            raise RuntimeError("MapDataset: the mapper returned None for every element")
        index = self._rng.randrange(usable)
        for unusable in sorted(self._unusable):
            index += unusable <= index
        return index


class _MapIterableDataset(torchdata.IterableDataset):
    """What MapDataset makes of an iterable data set."""

    def __init__(self, dataset: Iterable, map_func: Callable[[Any], Any]):
        self._dataset = dataset
        self._map_func = PicklableWrapper(map_func)

    def __len__(self) -> int:
        return len(self._dataset)

    def __iter__(self) -> Iterator[Any]:
        return (x for x in map(self._map_func, self._dataset) if x is not None)


class _TorchSerializedList:
    """A list as one byte tensor.

    Python objects are copied into each worker as their reference counts change; a tensor's memory
    stays shared by forked workers, and goes through shared memory to spawned ones.
    """

    def __init__(self, elements: Sequence):
        pickles = [pickle.dumps(element, protocol=-1) for element in elements]
        self._ends = torch.from_numpy(np.cumsum([len(p) for p in pickles], dtype=np.int64))
        self._bytes = torch.from_numpy(np.frombuffer(b"".join(pickles), dtype=np.uint8).copy())
        logger.info(f"Serialised {len(pickles)} elements to {len(self._bytes) / 2**20:.2f} MiB")

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Any:
        begin = 0 if index == 0 else self._ends[index - 1].item()
        return pickle.loads(memoryview(self._bytes[begin : self._ends[index].item()].numpy()))


_default_serialize: Callable[[Sequence], Sequence] = _TorchSerializedList


@contextlib.contextmanager
def set_default_dataset_from_list_serialize_method(new: Callable[[Sequence], Sequence]):
    """Within this context ``DatasetFromList(..., serialize=True)`` stores its list by `new`."""
    global _default_serialize
    before, _default_serialize = _default_serialize, new
    try:
        yield
    finally:
        _default_serialize = before


class DatasetFromList(torchdata.Dataset):
    """A list as a data set.

    Args:
        lst: the elements.
        copy: give out deep copies, so that the list stays as it is; without effect when serialised.
        serialize: keep the list in a form whose memory workers share (True: the default form; or a
            function from the list to an indexable); False keeps the list itself.
    """

    def __init__(
        self,
        lst: list,
        copy: bool = True,
        serialize: bool | Callable[[Sequence], Sequence] = True,
    ):
        if not (isinstance(serialize, bool) or callable(serialize)):
            raise TypeError(f"serialize must be a bool or a function, got {serialize!r}")
        self._copy = copy and not serialize
        store = _default_serialize if serialize is True else serialize
        self._lst = store(lst) if store else lst

    def __len__(self) -> int:
        return len(self._lst)

    def __getitem__(self, idx: int) -> Any:
        return copy.deepcopy(self._lst[idx]) if self._copy else self._lst[idx]


def _shard_iterator_dataloader_worker(iterable: Iterable, chunk_size: int = 1) -> Iterator:
    """Every n-th run of `chunk_size` elements, n being the number of loader workers.

    The loader takes batches from its workers in turn; with one batch a run they come in the order
    of the iterable.
    """
    worker = torchdata.get_worker_info()
    if worker is None or worker.num_workers == 1:
        yield from iterable
        return
    period = worker.num_workers * chunk_size
    for position, element in zip(itertools.cycle(range(period)), iterable, strict=False):
        if position // chunk_size == worker.id:
            yield element


class ToIterableDataset(torchdata.IterableDataset):
    """A map-style data set walked in the order of a sampler.

    Args:
        dataset: map-style.
        sampler: indices; the same ones in every worker.
        shard_sampler: each loader worker takes its own part of the indices; False if `sampler`
            already sees to that.
        shard_chunk_size: consecutive elements a worker takes at a time.
    """

    def __init__(
        self,
        dataset: torchdata.Dataset,
        sampler: torchdata.Sampler,
        shard_sampler: bool = True,
        shard_chunk_size: int = 1,
    ):
        if isinstance(dataset, torchdata.IterableDataset):
            raise TypeError("ToIterableDataset: the data set is iterable already")
        if not isinstance(sampler, Iterable):
            raise TypeError(f"ToIterableDataset: sampler must be iterable, got {sampler!r}")
        self.dataset = dataset
        self.sampler = sampler
        self.shard_sampler = shard_sampler
        self.shard_chunk_size = shard_chunk_size

    def __iter__(self) -> Iterator[Any]:
        indices = self.sampler
        if self.shard_sampler:
            indices = _shard_iterator_dataloader_worker(indices, self.shard_chunk_size)
        for index in indices:
            yield self.dataset[index]

    def __len__(self) -> int:
        return len(self.sampler)


class AspectRatioGroupedDataset(torchdata.IterableDataset):
    """Batches of wide images and batches of tall ones, so that little is padded.

    Args:
        dataset: iterable of dicts with `width` and `height`, endless or not; what does not fill a
            batch waits for the next iteration.
        batch_size: elements in a batch.
    """

    def __init__(self, dataset: Iterable[dict], batch_size: int):
        self.dataset = dataset
        self.batch_size = batch_size
        self._buckets: list[list[dict]] = [[], []]

    def __iter__(self) -> Iterator[list[dict]]:
        for element in self.dataset:
            bucket = self._buckets[0 if element["width"] > element["height"] else 1]
            bucket.append(element)
            if len(bucket) == self.batch_size:
                # Emptied before the batch is given out: the consumer may never come back.
                batch = bucket[:]
                bucket.clear()
                yield batch
