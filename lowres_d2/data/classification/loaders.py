"""Loaders of images that are in memory: batches made by tensor operations, without workers.

They yield lists of dicts, as Detectron2's models take them, whose images are views of one tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lowres_d2.data.classification.crop_and_flip import crop_and_flip
from lowres_d2.data.stream import BatchPositions, EpochOrder

import numpy as np
import torch
from detectron2.utils import comm
from jaxtyping import UInt8
from torch import Tensor

_AUGMENTATION = 1  # tells its random numbers from those of the epochs' order


class ArrayTrainLoader:
    """Endless batches of this rank, see :func:`build_array_train_loader`."""

    def __init__(
        self,
        dataset: Sequence[dict],
        positions: BatchPositions,
        seed: int,
        crop_padding: int,
        flip: bool,
    ) -> None:
        self.dataset, self.positions, self.seed = dataset, positions, seed
        self.crop_padding, self.flip = crop_padding, flip
        self._order = EpochOrder(seed, len(dataset))

    def __iter__(self) -> Iterator[list[dict]]:
        for iteration, batch in enumerate(self.positions, start=self.positions.start_iteration):
            items = [self.dataset[self._order.image_at(position)] for position in batch]
            images = _stack(items, self.dataset)
            yield _with_images(items, self._augment(images, iteration))

    def check_first_batch(self) -> None:
        """Load the first batch and drop it, to raise its errors now."""
        next(iter(self))

    def _augment(self, images: UInt8[Tensor, "N 3 H W"], iteration: int) -> Tensor:
        # Drawn for the batch of all ranks, so that pixels do not depend on their number.
        height, width = images.shape[-2:]
        if self.crop_padding >= min(height, width):
            raise ValueError(
                f"dataloader.train.crop_padding={self.crop_padding}: some crops of images of "
                f"{width}x{height} would be all black; expected less than {min(height, width)}"
            )
        total, first = self.positions.total_batch_size, self.positions.offset
        own = slice(first, first + self.positions.share)
        random = np.random.default_rng([self.seed, iteration, _AUGMENTATION])
        top, left = torch.from_numpy(random.integers(0, 2 * self.crop_padding + 1, (2, total)))
        flipped = torch.from_numpy(random.random(total) < (0.5 if self.flip else 0))
        return crop_and_flip(images, top[own], left[own], flipped[own], self.crop_padding)


class ArrayTestLoader:
    """Batches of this rank's part of a data set, in order."""

    def __init__(self, dataset: Sequence[dict], part: range, batch_size: int) -> None:
        self.dataset, self.part, self.batch_size = dataset, part, batch_size

    def __len__(self) -> int:
        return -(-len(self.part) // self.batch_size)

    def __iter__(self) -> Iterator[list[dict]]:
        for first in range(0, len(self.part), self.batch_size):
            items = [self.dataset[k] for k in self.part[first : first + self.batch_size]]
            yield _with_images(items, _stack(items, self.dataset))


def build_array_train_loader(
    dataset: Sequence[dict],
    total_batch_size: int,
    seed: int,
    crop_padding: int = 4,
    flip: bool = True,
    start_iteration: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
) -> ArrayTrainLoader:
    """An endless loader of this rank's batches, from iteration ``start_iteration`` on.

    Batch k and its pixels depend only on (seed, k), not on the number of ranks. Every epoch has
    each image once. Nothing is drawn from the global random generators.

    Args:
        dataset: items with ``image`` (uint8 (3, H, W), all of one size), such as ``ImageArrays``.
        total_batch_size: images per iteration, over all ranks.
        seed: 0 or more.
        crop_padding: black pixels added to each side, of which as many are cut off again at random;
            0: no crop.
        flip: mirror half of the images left to right; not for classes that this changes.
        start_iteration: first iteration to load; where a resumed run continues.
        rank: rank of this process; None: taken from the process group.
        world_size: number of ranks; None: likewise.

    Raises:
        ValueError: an argument is not valid; on loading, too, where images are smaller than
            ``crop_padding``.
    """
    for key, value in {"seed": seed, "crop_padding": crop_padding}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(
                f"dataloader.train.{key}={value!r}: expected a whole number, 0 or more"
            )
    positions = BatchPositions(
        total_batch_size,
        comm.get_rank() if rank is None else rank,
        comm.get_world_size() if world_size is None else world_size,
        start_iteration,
    )
    return ArrayTrainLoader(dataset, positions, seed, crop_padding, flip)


def build_array_test_loader(
    dataset: Sequence[dict],
    batch_size: int = 128,
    rank: int | None = None,
    world_size: int | None = None,
) -> ArrayTestLoader:
    """A loader of this rank's contiguous part of the data set; each image is on exactly one rank.

    Args:
        dataset: as for :func:`build_array_train_loader`.
        batch_size: images per batch on each rank.
        rank: rank of this process; None: taken from the process group.
        world_size: number of ranks; None: likewise.

    Raises:
        ValueError: the batch size is not a positive whole number.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(
            f"dataloader.test.batch_size={batch_size!r}: expected a whole number, 1 or more"
        )
    rank = comm.get_rank() if rank is None else rank
    world_size = comm.get_world_size() if world_size is None else world_size
    # As Detectron2's InferenceSampler: no padding, so that no image is evaluated twice.
    first, last = (len(dataset) * r // world_size for r in (rank, rank + 1))
    return ArrayTestLoader(dataset, range(first, last), batch_size)


def _stack(items: list[dict], dataset: Sequence[dict]) -> UInt8[Tensor, "N 3 H W"]:
    source = getattr(dataset, "source", type(dataset).__name__)
    if "image" not in items[0]:
        raise ValueError(
            f"{source}: its items have no image: this loader takes data sets in memory; use "
            "build_train_loader and build_test_loader with ClassificationMapper"
        )
    sizes = {tuple(item["image"].shape) for item in items}
    if len(sizes) > 1:
        raise ValueError(f"{source}: images of shapes {sorted(sizes)}: expected one for all")
    return torch.stack([item["image"] for item in items])


def _with_images(items: list[dict], images: Tensor) -> list[dict]:
    return [item | {"image": image} for item, image in zip(items, images.unbind(), strict=True)]
