"""Batches whose elements belong to one group, such as images of one orientation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import BatchSampler, Sampler


class GroupedBatchSampler(BatchSampler):
    """Collect indices by group and yield each batch as soon as it is full; the rest is dropped.

    Args:
        sampler: where the indices come from.
        group_ids: group of each element of the data set.
        batch_size: indices in a batch.
    """

    def __init__(self, sampler: Sampler, group_ids: list[int], batch_size: int):
        if not isinstance(sampler, Sampler):
            raise ValueError(f"sampler must be a torch.utils.data.Sampler, got {sampler!r}")
        self.sampler = sampler
        self.group_ids = np.asarray(group_ids)
        if self.group_ids.ndim != 1:
            raise ValueError(f"group_ids must have one axis, got shape {self.group_ids.shape}")
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[list[int]]:
        waiting = {group: [] for group in np.unique(self.group_ids).tolist()}
        for index in self.sampler:
            batch = waiting[self.group_ids[index].item()]
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch[:]
                batch.clear()

    def __len__(self) -> int:
        raise TypeError(
            "GroupedBatchSampler has no length: the number of batches depends on the order"
        )
