"""Data loaders: an endless, reproducible one for training and an ordered one for evaluation.

Both yield lists of samples, as Detectron2's models take them, and count dropped boxes and skipped
images.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from lowres_d2.data.processes import stop_opencv_threads
from lowres_d2.data.stream import BatchPositions, ImageStream

import torch
from detectron2.data.samplers import RepeatFactorTrainingSampler
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

_logger = logging.getLogger(__name__)
_COUNTED = ("num_dropped_boxes", "num_skipped_images")


class BatchLoader:
    """Iterates over a DataLoader whose items are lists of samples.

    Errors in the data are raised in this process, so that their messages stay one line.

    Attributes:
        counts: numbers of boxes (``num_dropped_boxes``) and images (``num_skipped_images``) that
            the mapper left out of the batches yielded so far, in whatever process it ran. The
            engine logs both.

    Args:
        loader: a DataLoader; a sample may be an exception (raised here) or None (skipped).
    """

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader
        self.counts: Counter[str] = Counter(dict.fromkeys(_COUNTED, 0))

    def __iter__(self) -> Iterator[list[dict]]:
        # Before the workers are forked, see `stop_opencv_threads`.
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
            # All images of a batch may be skipped, and no model runs on none.
            if batch:
                yield batch

    def check_first_batch(self) -> None:
        """Load the first batch in this process and drop it, to raise its errors now."""
        for index in next(iter(self.loader.batch_sampler)):
            sample = self.loader.dataset[index]
            if isinstance(sample, Exception):
                raise sample

    def __len__(self) -> int:
        return len(self.loader)


# A function of the module: a lambda cannot be pickled for spawned workers.
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
    repeat_threshold: float | None = None,
    rank: int | None = None,
    world_size: int | None = None,
) -> BatchLoader:
    """An endless loader of this rank's batches, from iteration ``start_iteration`` on.

    Batch k and its pixels depend only on (seed, k), not on the number of workers or ranks. Creating
    an iterator draws nothing from the global random generators.

    Args:
        dataset: dataset dicts.
        mapper: dataset dict -> sample.
        total_batch_size: images per iteration, over all ranks.
        seed: 0 or more.
        num_workers: processes that prepare batches; 0: this process does.
        start_iteration: first iteration to load; where a resumed run continues.
        filter_empty: leave out images without a (non-crowd) annotation. A detector learns
            background from them, so by default they stay.
        repeat_threshold: share of the images below which a class is rare. Images with a rare class
            come more often, by the factors of Detectron2's ``RepeatFactorTrainingSampler``:
            sqrt(threshold / share). None: every image comes once an epoch.
        rank: rank of this process; None: taken from the process group.
        world_size: number of ranks; None: likewise.
    """
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"dataloader.train.seed={seed!r}: expected a whole number, 0 or more")
    if not any(map(_has_ground_truth, dataset)):
        crowds = getattr(dataset, "num_crowds", 0)
        raise ValueError(
            f"{getattr(dataset, 'source', type(dataset).__name__)}: no image has an object to "
            "learn from; check the annotation file, and classes, or label the images with a "
            "trained detector (lowres-d2 pseudo-label)"
            + (f" (its {crowds} annotations are crowds, iscrowd 1: set it to 0)" if crowds else "")
        )
    # What Detectron2 does by default (get_detection_dataset_dicts).
    if filter_empty:
        dataset = _WithObjects(dataset)
    factors = None if repeat_threshold is None else repeat_factors(dataset, repeat_threshold)
    if factors is not None:
        _logger.info(
            "class balancing: images with rare classes come up to %.1f times an epoch, which has "
            "about %.0f images in place of %d",
            max(factors),
            sum(factors),
            len(factors),
        )
    positions = BatchPositions(
        total_batch_size,
        comm.get_rank() if rank is None else rank,
        comm.get_world_size() if world_size is None else world_size,
        start_iteration,
    )
    return BatchLoader(
        DataLoader(
            ImageStream(dataset, mapper, seed, factors),
            batch_sampler=positions,
            num_workers=num_workers,
            collate_fn=_samples,
            worker_init_fn=stop_opencv_threads,
            # DataLoader draws the seed of its workers from this, else from the global generator.
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
    """A loader of this rank's contiguous part of the data set; each image is on exactly one rank.

    Args:
        dataset: dataset dicts.
        mapper: dataset dict -> sample.
        batch_size: images per batch on each rank.
        num_workers: processes that prepare batches; 0: this process does.
        rank: rank of this process; None: taken from the process group.
        world_size: number of ranks; None: likewise.
    """
    rank = comm.get_rank() if rank is None else rank
    world_size = comm.get_world_size() if world_size is None else world_size
    # As Detectron2's InferenceSampler: no padding, so that no image is evaluated twice.
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


def repeat_factors(dataset: Sequence[dict], threshold: float) -> list[float]:
    """How often each image of a data set comes in an epoch, so that rare classes are seen more.

    Args:
        dataset: dataset dicts with ``annotations``, of which crowds do not count, or ``label``.
        threshold: share of the images below which a class is rare, over 0 and at most 1.
    """
    if isinstance(threshold, bool) or not 0 < threshold <= 1:
        raise ValueError(
            f"dataloader.train.repeat_threshold={threshold!r}: expected a share of the images, "
            "over 0 and at most 1, or null"
        )
    records = []
    for record in dataset:
        if "annotations" in record:
            objects = [a for a in record["annotations"] if not a.get("iscrowd", 0)]
        elif "label" in record:
            objects = [{"category_id": record["label"]}]
        else:
            raise ValueError(
                "dataloader.train.repeat_threshold: the data has no annotations and no labels, "
                "whose classes could be balanced; set it to null"
            )
        records.append({"annotations": objects})
    factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(records, threshold)
    return factors.tolist()


def images_per_epoch(
    dataset: Sequence[dict], filter_empty: bool = False, repeat_threshold: float | None = None
) -> float:
    """How many images :func:`build_train_loader` loads in an epoch, on average.

    Args:
        dataset: dataset dicts.
        filter_empty: as for the loader.
        repeat_threshold: as for the loader.
    """
    if filter_empty:
        dataset = _WithObjects(dataset)
    return (
        len(dataset) if repeat_threshold is None else sum(repeat_factors(dataset, repeat_threshold))
    )


def _has_ground_truth(record: dict) -> bool:
    """Whether an image has a non-crowd object, or labels other than boxes (no ``annotations``)."""
    return any(not a.get("iscrowd", 0) for a in record.get("annotations", [{}]))


class _WithObjects(Dataset):
    """The images of a data set that have ground truth to train on."""

    def __init__(self, dataset: Sequence[dict]) -> None:
        self.dataset = dataset
        self.indices = [k for k, record in enumerate(dataset) if _has_ground_truth(record)]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict:
        return self.dataset[self.indices[index]]


class _Mapped(Dataset):
    """Mapped images in order; errors in the user's data are returned, for BatchLoader to raise."""

    def __init__(self, dataset: Sequence[dict], mapper: Callable[[dict], dict | None]) -> None:
        self.dataset, self.mapper = dataset, mapper

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict | Exception | None:
        try:
            return self.mapper(self.dataset[index])
        # Errors of other types are defects, which keep their traceback.
        except (ValueError, FileNotFoundError) as error:
            return error
