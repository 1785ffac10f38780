"""Samplers that know their process: endless ones for training, an exact split for evaluation.

All processes draw the same endless stream of indices from the same seed, and process r of R takes
every R-th element from the r-th on, so that together they consume the stream in order.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import Counter
from collections.abc import Iterator

import torch
from detectron2.utils import comm
from torch import Tensor
from torch.utils.data import Sampler

logger = logging.getLogger(__name__)


class TrainingSampler(Sampler):
    """Endless passes over a data set, each in a new order.

    Args:
        size: number of elements.
        shuffle: False keeps their order.
        seed: None draws one that all processes share.
    """

    def __init__(self, size: int, shuffle: bool = True, seed: int | None = None):
        if not isinstance(size, int):
            raise TypeError(f"{type(self).__name__}: size must be an int, got {size!r}")
        if size <= 0:
            raise ValueError(f"{type(self).__name__}: the data set is empty (size={size})")
        self._size = size
        self._shuffle = shuffle
        self._seed = _shared(seed)
        self._rank, self._world_size = comm.get_rank(), comm.get_world_size()

    def __iter__(self) -> Iterator[int]:
        return itertools.islice(self._infinite_indices(), self._rank, None, self._world_size)

    def _infinite_indices(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed(self._seed)
        while True:
            yield from self._one_pass(generator).tolist()

    def _one_pass(self, generator: torch.Generator) -> Tensor:
        if self._shuffle:
            return torch.randperm(self._size, generator=generator)
        return torch.arange(self._size)


class RandomSubsetTrainingSampler(TrainingSampler):
    """A TrainingSampler over a fixed random part of the data set.

    Args:
        size: number of elements.
        subset_ratio: share of them, in (0, 1].
        shuffle: False keeps the order in which the part was drawn.
        seed_shuffle: of the passes; None draws one that all processes share.
        seed_subset: of the choice; None draws one that all processes share.
    """

    def __init__(
        self,
        size: int,
        subset_ratio: float,
        shuffle: bool = True,
        seed_shuffle: int | None = None,
        seed_subset: int | None = None,
    ):
        super().__init__(size=size, shuffle=shuffle, seed=seed_shuffle)
        if not 0.0 < subset_ratio <= 1.0:  # AssertionError as upstream raises it
            raise AssertionError(f"subset_ratio must be in (0, 1], got {subset_ratio}")
        self._size_subset = int(size * subset_ratio)
        if self._size_subset == 0:
            raise ValueError(f"subset_ratio={subset_ratio} of {size} elements leaves none")
        generator = torch.Generator()
        generator.manual_seed(_shared(seed_subset))
        self.indexes_subset = torch.randperm(size, generator=generator)[: self._size_subset]
        logger.info(f"Training on {self._size_subset} of {size} elements, drawn once")

    def _one_pass(self, generator: torch.Generator) -> Tensor:
        if self._shuffle:
            return self.indexes_subset[torch.randperm(self._size_subset, generator=generator)]
        return self.indexes_subset


class RepeatFactorTrainingSampler(TrainingSampler):
    """Images with rare classes come more than once a pass (LVIS, Gupta et al. 2019, sec. B.2).

    A factor of 2.3 means twice in each pass and a third time in 30 % of them.

    Args:
        repeat_factors: float (size,), one for each image.
        shuffle: False keeps their order.
        seed: None draws one that all processes share.
    """

    def __init__(self, repeat_factors: Tensor, *, shuffle: bool = True, seed: int | None = None):
        super().__init__(size=len(repeat_factors), shuffle=shuffle, seed=seed)
        self._whole = torch.trunc(repeat_factors)
        self._fraction = repeat_factors - self._whole

    @staticmethod
    def repeat_factors_from_category_frequency(
        dataset_dicts: list[dict], repeat_thresh: float, sqrt: bool = True
    ) -> Tensor:
        """Factor of each image: the largest ``max(1, sqrt(thresh / f))`` of its classes.

        Args:
            dataset_dicts: images with `annotations`.
            repeat_thresh: classes in a smaller share f of the images are repeated.
            sqrt: False leaves the square root out.

        Returns:
            float32 (len(dataset_dicts),).
        """
        classes = [{a["category_id"] for a in d["annotations"]} for d in dataset_dicts]
        images_with = Counter(itertools.chain.from_iterable(classes))
        factor_of = {}
        for category, count in images_with.items():
            ratio = repeat_thresh / (count / len(dataset_dicts))
            factor_of[category] = max(1.0, math.sqrt(ratio) if sqrt else ratio)
        factors = [max((factor_of[c] for c in present), default=1.0) for present in classes]
        return torch.tensor(factors, dtype=torch.float32)

    def _get_epoch_indices(self, generator: torch.Generator) -> Tensor:
        """One pass in order: each index as often as its factor, rounded by chance, says."""
        extra = torch.rand(self._size, generator=generator) < self._fraction
        counts = (self._whole + extra).long()
        return torch.repeat_interleave(torch.arange(self._size), counts)

    def _one_pass(self, generator: torch.Generator) -> Tensor:
        indices = self._get_epoch_indices(generator)
        if self._shuffle:
            indices = indices[torch.randperm(len(indices), generator=generator)]
        return indices


class InferenceSampler(Sampler):
    """Each element exactly once over all processes, in order, in shares that differ by at most one.

    Args:
        size: number of elements.
    """

    def __init__(self, size: int):
        self._size = size
        self._local_indices = self._get_local_indices(size, comm.get_world_size(), comm.get_rank())

    @staticmethod
    def _get_local_indices(total_size: int, world_size: int, rank: int) -> range:
        share, left = divmod(total_size, world_size)
        # The first `left` processes take one more.
        begin = share * rank + min(rank, left)
        return range(begin, begin + share + (rank < left))

    def __iter__(self) -> Iterator[int]:
        yield from self._local_indices

    def __len__(self) -> int:
        return len(self._local_indices)


def _shared(seed: int | None) -> int:
    return comm.shared_random_seed() if seed is None else int(seed)
