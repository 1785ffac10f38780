"""Column-wise maxima of a matrix too large to hold, such as IoUs of 2,000 objects with 270,000
anchors: computed a few rows at a time, with the very result of the whole.

Shapes: M rows (objects), N columns (anchors, locations or proposals).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Entries of a chunk: 16 MiB of float32. Computing an IoU holds about seven such matrices at once.
CHUNK_ENTRIES = 2**22


def best_rows(
    entries: Callable[[slice], Tensor], num_rows: int, num_columns: int
) -> tuple[Tensor, Tensor]:
    """What ``max(dim=0)`` gives of the whole matrix: among equals the first row wins.

    Args:
        entries: gives the rows of a slice, (rows, N); called once for each row, in order.
        num_rows: M, at least 1.
        num_columns: N.

    Returns:
        Greatest entry of each column (N,) and the row it stands in (N,), int64.
    """
    step = max(1, CHUNK_ENTRIES // max(1, num_columns))
    best, index = entries(slice(0, step)).max(dim=0)
    for first in range(step, num_rows, step):
        value, row = entries(slice(first, first + step)).max(dim=0)
        better = value > best
        best = torch.where(better, value, best)
        index = torch.where(better, row + first, index)
    return best, index
