"""The endless training stream: which image is at which position, with which random numbers.

Position p of the stream belongs to epoch p // n of a data set of n images. An epoch is a
permutation drawn from (seed, epoch), and the mapper's random numbers come from (seed, p). Batch k
is positions [k B, (k + 1) B), of which each rank takes an equal contiguous part. So a batch depends
only on (seed, k), not on the number of processes or on where the run was started or resumed.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

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


# Two, since a batch may reach into the next epoch.
@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, length: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(length)


def image_at(position: int, seed: int, length: int) -> int:
    """Index of the image at a stream position, for a data set of ``length`` images."""
    epoch, place = divmod(position, length)
    return int(_epoch_order(seed, epoch, length)[place])


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
    """

    def __init__(
        self, dataset: Sequence[dict], mapper: Callable[[dict], dict | None], seed: int
    ) -> None:
        self.dataset, self.mapper, self.seed = dataset, mapper, seed

    def __getitem__(self, position: int) -> dict | Exception:
        length = len(self.dataset)
        first = image_at(position, self.seed, length)
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
