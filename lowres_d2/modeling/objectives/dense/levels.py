"""Pairs of levels and cells in the pyramids of student and teacher.

The centre of a dense head's cell k is at (k + offset) strides of its network's input, the centre of
its anchors, whatever the receptive field of the convolutions before it. Levels are paired by the
size of the objects that they detect: at 4x the student's stride of 4 is a stride of 16
full-resolution pixels, and its finest level is paired with all finer levels of the teacher, too.

A student's cell covers a square of one stride. Its candidates are the teacher's cells whose centres
lie in that square, on all levels paired with its own; a level that has none gives its nearest cell.
The student's cell learns from the most confident candidate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from lowres_d2.structures import FeatureMap

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_OUTSIDE = -1.0  # confidence of cells whose centres lie outside their image


def levels_by_scale(
    strides: Sequence[int], teacher_strides: Sequence[int], factor: Fraction
) -> list[tuple[int, int]]:
    """(student's level, teacher's level): each of the teacher's with the nearest one in scale.

    Args:
        strides: strides of the student's levels, in pixels of its input.
        teacher_strides: strides of the teacher's levels, in full-resolution pixels.
        factor: full-resolution pixels in one pixel of the student's input.
    """
    own = [math.log2(stride * factor) for stride in strides]
    return [
        (min(range(len(own)), key=lambda k: abs(own[k] - math.log2(stride))), level)
        for level, stride in enumerate(teacher_strides)
    ]


def inside(cells: FeatureMap) -> Bool[Tensor, "N h w"]:
    """Mask of the cells whose centres lie inside their images."""
    height, width = cells.tensor.shape[-2:]
    counts = torch.tensor([cells.cells_inside(i) for i in range(len(cells.valid_sizes))])
    rows = torch.arange(height) < counts[:, :1]
    columns = torch.arange(width) < counts[:, 1:]
    return (rows[:, :, None] & columns[:, None, :]).to(cells.tensor.device)


def best_cells(
    student: FeatureMap, confidences: Sequence[FeatureMap]
) -> tuple[Int[Tensor, "N A S"], Float[Tensor, "N A S"]]:
    """The teacher's most confident cell for each of the student's cells.

    Args:
        student: a level of the student; only its geometry matters.
        confidences: confidences (N, A, h, w) of the teacher's levels that are paired with it.

    Returns:
        Indices into the teacher's cells, level after level, and the confidences of these cells.
        A confidence is negative if the student's cell or all of its candidates are outside.
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
        # (h, w, candidate rows, candidate columns)
        cell = rows[:, None, :, None] * level.tensor.shape[-1] + columns[None, :, None, :]
        candidates.append(start + cell.flatten(2).flatten(0, 1))  # (S, candidates)
        start += level.tensor.shape[-2] * level.tensor.shape[-1]
    candidate = torch.cat(candidates, dim=1).to(student.tensor.device)
    flat = torch.cat(
        [level.tensor.where(inside(level)[:, None], _OUTSIDE).flatten(2) for level in confidences],
        dim=2,
    )  # (N, A, cells of all these levels)
    # (N, A, S, candidates) before the maximum, (N, A, S) after it.
    best, choice = flat[:, :, candidate].max(dim=3)
    index = candidate.expand(*choice.shape, -1).gather(3, choice[..., None])[..., 0]
    return index, best.where(inside(student).flatten(1)[:, None], _OUTSIDE)


@lru_cache(maxsize=1024)
def _cells_within(
    own: int, cells: int, first: Fraction, step: Fraction
) -> Int[Tensor, "{own} width"]:
    """The teacher's cells within each of the student's cells on one axis; else the nearest one.

    Args:
        own: number of the student's cells.
        cells: number of the teacher's cells.
        first: centre of the student's cell 0, in cells of the teacher.
        step: distance of the student's cells, in cells of the teacher.

    Returns:
        Indices of the teacher's cells; shorter rows repeat their last one.
    """
    lists = []
    for k in range(own):
        center = first + step * k
        # Half open and in exact fractions: a centre on the border of two cells is in one of them.
        low = max(math.ceil(center - step / 2), 0)
        high = min(math.ceil(center + step / 2), cells)
        nearest = min(max(math.floor(center + Fraction(1, 2)), 0), cells - 1)
        lists.append(list(range(low, high)) or [nearest])
    width = max(map(len, lists))
    # A candidate that is there twice does not change the maximum.
    return torch.tensor([found + found[-1:] * (width - len(found)) for found in lists])
