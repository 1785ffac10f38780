"""Loaders: an endless repeatable one for training, an ordered one for evaluation.

Both yield lists of samples, as Detectron2's models take them, and count what was dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from lowres_d2.data.processes import stop_opencv_threads
from lowres_d2.data.stream import BatchPositions, ImageStream

import torch
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

_COUNTED = ("num_dropped_boxes", "num_skipped_images")


class BatchLoader:
    """Iterates a DataLoader whose items are lists of samples.

    Raises errors of the data as they are, in one line.

    Attributes:
        counts: how many boxes (``num_dropped_boxes``) and images (``num_skipped_images``) the
            mapper has left out of the batches given so far, in whatever process it ran. The engine
            logs both.

    Args:
        loader: its samples may be exceptions (to be raised) or None (to be left out).
    """

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader
        self.counts: Counter[str] = Counter(dict.fromkeys(_COUNTED, 0))

    def __iter__(self) -> Iterator[list[dict]]:
        if self.loader.num_workers:
            stop_opencv_threads()
        for samples in self.loader:
            batch = []
            for sample in samples:
                if isinstance(sample, Exception):
                    raise sample
                if sample is None:
                    self.counts["num_skipped_images"] += 1
                    continue
                for key in _COUNTED:
                    self.counts[key] += sample.pop(key, 0)
                batch.append(sample)
            if batch:
                yield batch

    def __len__(self) -> int:
        return len(self.loader)


def _samples(batch: list) -> list:
    return batch


def build_train_loader(
    dataset: Sequence[dict],
    mapper: Callable[[dict], dict | None],
    total_batch_size: int,
    seed: int,
    num_workers: int = 0,
    start_iteration: int = 0,
    filter_empty: bool = False,
    rank: int | None = None,
    world_size: int | None = None,
) -> BatchLoader:
    """Batches of this rank for iteration ``start_iteration`` and on, forever.

    Batch k and its pixels are a function of (seed, k), whatever the number of workers or ranks.
    Making an iterator draws nothing from the global random generators.

    Args:
        dataset: dataset dicts.
        mapper: dataset dict -> sample.
        total_batch_size: over all ranks.
        seed: 0 or more.
        num_workers: processes that prepare batches; 0: this one does.
        start_iteration: where a resumed run goes on.
        filter_empty: leave out images without a (non-crowd) annotation; as background they teach
            something, so by default they stay.
        rank: of this process; None: the running one's.
        world_size: number of ranks; None: of the running group.
    """
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"dataloader.train.seed={seed!r}: expected a whole number, 0 or more")
    if not any(map(_teaches, dataset)):
        raise ValueError(
            f"{getattr(dataset, 'source', type(dataset).__name__)}: no image has an object to "
            "learn from; check the annotation file, and classes"
        )
    if filter_empty:
        dataset = _WithObjects(dataset)
    positions = BatchPositions(
        total_batch_size,
        comm.get_rank() if rank is None else rank,
        comm.get_world_size() if world_size is None else world_size,
        start_iteration,
    )
    return BatchLoader(
        DataLoader(
            ImageStream(dataset, mapper, seed),
            batch_sampler=positions,
            num_workers=num_workers,
            collate_fn=_samples,
            worker_init_fn=stop_opencv_threads,
            generator=torch.Generator(),
        )
    )


def build_test_loader(
    dataset: Sequence[dict],
    mapper: Callable[[dict], dict | None],
    batch_size: int = 1,
    num_workers: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
) -> BatchLoader:
    """This rank's run of the data set, in order; every image is on exactly one rank.

    Args:
        dataset: dataset dicts.
        mapper: dataset dict -> sample.
        batch_size: of each rank.
        num_workers: processes that prepare batches; 0: this one does.
        rank: of this process; None: the running one's.
        world_size: number of ranks; None: of the running group.
    """
    rank = comm.get_rank() if rank is None else rank
    world_size = comm.get_world_size() if world_size is None else world_size
    first, last = (len(dataset) * r // world_size for r in (rank, rank + 1))
    return BatchLoader(
        DataLoader(
            _Mapped(dataset, mapper),
            batch_size=batch_size,
            sampler=range(first, last),
            num_workers=num_workers,
            collate_fn=_samples,
            worker_init_fn=stop_opencv_threads,
            generator=torch.Generator(),
        )
    )


def _teaches(record: dict) -> bool:
    """Whether it has something to learn from: an object, no crowd, or anything but boxes."""
    return any(not a.get("iscrowd", 0) for a in record.get("annotations", [{}]))


class _WithObjects(Dataset):
    """The images of a data set that have something to learn from."""

    def __init__(self, dataset: Sequence[dict]) -> None:
        self.dataset = dataset
        self.indices = [k for k, record in enumerate(dataset) if _teaches(record)]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict:
        return self.dataset[self.indices[index]]


class _Mapped(Dataset):
    """Items in order; errors of the user's data are returned, for the loader to raise."""

    def __init__(self, dataset: Sequence[dict], mapper: Callable[[dict], dict | None]) -> None:
        self.dataset, self.mapper = dataset, mapper

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict | Exception | None:
        try:
            return self.mapper(self.dataset[index])
        except (ValueError, FileNotFoundError) as error:
            return error
