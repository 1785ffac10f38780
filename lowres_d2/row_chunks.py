"""Column-wise maxima of a matrix that does not fit into memory, a few rows at a time.

An example is the IoU of 2,000 objects (rows) with 270,000 anchors (columns). The result is exactly
that of the whole matrix.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Entries of a chunk: 16 MiB of float32. Computing an IoU needs about seven such matrices at once.
CHUNK_ENTRIES = 2**22


def best_rows(
    entries: Callable[[slice], Float[Tensor, "_rows columns"]], num_rows: int, num_columns: int
) -> tuple[Float[Tensor, " columns"], Int[Tensor, " columns"]]:
    """The result of ``max(dim=0)`` on the whole matrix: among equal entries the first row wins.

    Args:
        entries: returns the rows of a slice; called for each chunk, in order.
        num_rows: rows of the matrix, at least 1.
        num_columns: columns of the matrix.

    Returns:
        Largest entry of each column, and its row.
    """
    step = max(1, CHUNK_ENTRIES // max(1, num_columns))
    best, index = entries(slice(0, step)).max(dim=0)
    for first in range(step, num_rows, step):
        value, row = entries(slice(first, first + step)).max(dim=0)
        # Strictly greater: of equal entries the earlier row stays.
        better = value > best
        best = torch.where(better, value, best)
        index = torch.where(better, row + first, index)
    return best, index
