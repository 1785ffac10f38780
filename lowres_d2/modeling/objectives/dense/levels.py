"""Which cells of a teacher's pyramid answer for a cell of the student's.

A dense head's cell k stands at (k + offset) strides of its network's input: where its anchor is,
whatever the convolutions before it see. Levels are paired by the size of what they detect: at 4x
the student's stride of 4 is one of 16 full-resolution pixels, and its finest level answers for
everything finer too. A student's cell covers a square of one stride; of the teacher's cells that
stand in it (the nearest one, where a level has none), on all levels paired with it, the most
confident one is its teacher.

Shapes: N images, A anchors a cell, h and w cells of a map, S = h w, T cells of several maps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from lowres_d2.structures import FeatureMap

import torch
from torch import Tensor

_OUTSIDE = -1.0  # confidence of cells that stand outside of their image


def levels_by_scale(
    strides: Sequence[int], teacher_strides: Sequence[int], factor: Fraction
) -> list[tuple[int, int]]:
    """(student's level, teacher's level) pairs: each of the teacher's goes to the nearest in scale.

    Args:
        strides: of the student's levels, in pixels of its input.
        teacher_strides: likewise.
        factor: full-resolution pixels in one of the student's.
    """
    own = [math.log2(stride * factor) for stride in strides]
    return [
        (min(range(len(own)), key=lambda k: abs(own[k] - math.log2(stride))), level)
        for level, stride in enumerate(teacher_strides)
    ]


def inside(cells: FeatureMap) -> Tensor:
    """Mask (N, h, w) of the cells that stand inside their images."""
    height, width = cells.tensor.shape[-2:]
    counts = torch.tensor([cells.cells_inside(i) for i in range(len(cells.valid_sizes))])
    rows = torch.arange(height) < counts[:, :1]
    columns = torch.arange(width) < counts[:, 1:]
    return (rows[:, :, None] & columns[:, None, :]).to(cells.tensor.device)


def best_cells(student: FeatureMap, confidences: Sequence[FeatureMap]) -> tuple[Tensor, Tensor]:
    """The teacher's cell for each of the student's.

    Args:
        student: a level; only its geometry matters.
        confidences: of the teacher's levels that answer for it, tensors (N, A, h, w).

    Returns:
        Index (N, A, S) into the teacher's cells, level after level; and their confidence, negative
        where there is none because the student's cell or all of the teacher's are outside.
    """
    candidates, start = [], 0
    for level in confidences:
        rows, columns = (
            _cells_within(
                own,
                cells,
                (student.offset - level.offset) / level.stride,
                student.stride / level.stride,
            )
            for own, cells in zip(student.tensor.shape[-2:], level.tensor.shape[-2:], strict=True)
        )
        cell = rows[:, None, :, None] * level.tensor.shape[-1] + columns[None, :, None, :]
        candidates.append(start + cell.flatten(2).flatten(0, 1))  # (S, candidates)
        start += level.tensor.shape[-2] * level.tensor.shape[-1]
    candidate = torch.cat(candidates, dim=1).to(student.tensor.device)
    flat = torch.cat(
        [level.tensor.where(inside(level)[:, None], _OUTSIDE).flatten(2) for level in confidences],
        dim=2,
    )  # (N, A, T)
    best, choice = flat[:, :, candidate].max(dim=3)
    index = candidate.expand(*choice.shape, -1).gather(3, choice[..., None])[..., 0]
    return index, best.where(inside(student).flatten(1)[:, None], _OUTSIDE)


@lru_cache(maxsize=1024)
def _cells_within(own: int, cells: int, first: Fraction, step: Fraction) -> Tensor:
    """(own, width) cells that stand within each own cell's square; the nearest where none does.

    Args:
        own: number of the student's cells on an axis.
        cells: number of the teacher's.
        first: where own cell 0 stands, in the teacher's cells.
        step: from one own cell to the next, likewise.
    """
    lists = []
    for k in range(own):
        center = first + step * k
        low = max(math.ceil(center - step / 2), 0)
        high = min(math.ceil(center + step / 2), cells)
        nearest = min(max(math.floor(center + Fraction(1, 2)), 0), cells - 1)
        lists.append(list(range(low, high)) or [nearest])
    width = max(map(len, lists))
    return torch.tensor([found + found[-1:] * (width - len(found)) for found in lists])
