"""The endless training stream: which image is at which position, with which random numbers.

Position p of the stream belongs to epoch p // n of a data set of n images, where none is repeated.
The order of an epoch is drawn from (seed, epoch), and the mapper's random numbers from (seed, p).
Batch k is positions [k B, (k + 1) B), of which each rank takes an equal contiguous part. So a batch
depends only on (seed, k), not on the number of processes or on where the run began or resumed.
"""

from __future__ import annotations

import contextlib
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler


class BatchPositions(Sampler[list[int]]):
    """Endless sampler of the stream positions of this rank's batches.

    Args:
        total_batch_size: B, images per iteration over all ranks.
        rank: rank of this process.
        world_size: number of ranks; must divide B.
        start_iteration: k of the first batch.
    """

    def __init__(
        self, total_batch_size: int, rank: int = 0, world_size: int = 1, start_iteration: int = 0
    ) -> None:
        whole = isinstance(total_batch_size, int)
        if not whole or total_batch_size < 1 or total_batch_size % world_size:
            raise ValueError(
                f"total_batch_size={total_batch_size!r}: expected a positive multiple of the "
                f"number of processes, {world_size}"
            )
        if start_iteration < 0:
            raise ValueError(f"start_iteration={start_iteration}: expected 0 or more")
        self.total_batch_size = total_batch_size
        self.share = total_batch_size // world_size
        self.offset = rank * self.share
        self.start_iteration = start_iteration

    def __iter__(self) -> Iterator[list[int]]:
        iteration = self.start_iteration
        while True:
            first = iteration * self.total_batch_size + self.offset
            yield list(range(first, first + self.share))
            iteration += 1


class EpochOrder:
    """Which image is at which position: every epoch is a permutation of its own.

    Args:
        seed: seed of the permutations.
        length: number of images of the data set.
        repeat_factors: how often each image comes in an epoch, 1 or more: 2.3 is twice in every
            epoch and a third time in 30 % of them, so that epochs differ in length. None: once.
    """

    def __init__(
        self, seed: int, length: int, repeat_factors: Sequence[float] | None = None
    ) -> None:
        self._seed, self._length = seed, length
        self._factors = None if repeat_factors is None else np.asarray(repeat_factors, np.float64)
        self._starts = [0]  # first position of each epoch so far, where they differ in length
        self._orders: dict[int, np.ndarray] = {}

    def image_at(self, position: int) -> int:
        """Index of the image at a stream position."""
        if self._factors is None:
            epoch, place = divmod(position, self._length)
        else:
            while self._starts[-1] <= position:
                self._starts.append(self._starts[-1] + len(self._order(len(self._starts) - 1)))
            epoch = bisect_right(self._starts, position) - 1
            place = position - self._starts[epoch]
        return int(self._order(epoch)[place])

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            generator = np.random.default_rng([self._seed, epoch])
            if self._factors is None:
                order = generator.permutation(self._length)
            else:
                whole = np.floor(self._factors)
                times = whole + (generator.random(self._length) < self._factors - whole)
                order = generator.permutation(np.repeat(np.arange(self._length), times.astype(int)))
            # Two are kept, since a batch may reach into the next epoch.
            self._orders = {k: kept for k, kept in self._orders.items() if k == epoch - 1}
            self._orders[epoch] = order
        return self._orders[epoch]


@contextlib.contextmanager
def seeded(seed: int, position: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's (CPU) generators by (seed, position), then restore."""
    words = np.random.SeedSequence([seed, position]).generate_state(4)
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch_state = torch.default_generator.get_state()
    try:
        random.seed(int(words[0]))
        np.random.seed(words[1:3])  # noqa: NPY002 (what augmentations draw from)
        # torch.manual_seed would also seed GPUs, whose states are not restored below.
        torch.default_generator.manual_seed(int(words[3]))
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.default_generator.set_state(torch_state)


class ImageStream(Dataset):
    """Item p is the mapped image at stream position p.

    If the mapper skips an image (returns None), the next one of the data set takes its place.
    Errors in the user's data are returned, not raised: a DataLoader worker would bury the message
    in its traceback.

    Args:
        dataset: dataset dicts.
        mapper: dataset dict -> sample, or None to skip the image.
        seed: seed of the stream.
        repeat_factors: see :class:`EpochOrder`.
    """

    def __init__(
        self,
        dataset: Sequence[dict],
        mapper: Callable[[dict], dict | None],
        seed: int,
        repeat_factors: Sequence[float] | None = None,
    ) -> None:
        self.dataset, self.mapper, self.seed = dataset, mapper, seed
        self._order = EpochOrder(seed, len(dataset), repeat_factors)

    def __getitem__(self, position: int) -> dict | Exception:
        length = len(self.dataset)
        first = self._order.image_at(position)
        try:
            for num_skipped in range(length):
                record = self.dataset[(first + num_skipped) % length]
                with seeded(self.seed, position):
                    sample = self.mapper(record)
                if sample is not None:
                    return sample | {"num_skipped_images": num_skipped}
            raise ValueError(f"none of the {length} images of the data set can be read")
        except (ValueError, FileNotFoundError) as error:
            return error
