"""Which boxes of different tiles overlap, found through a grid of cells.

Comparing all of 30,000 boxes with each other takes minutes; here each is compared with those in
its own cells. M boxes, XYXY in pixels of the whole image.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

_AT_ONCE = 1_000_000  # pairs: bounds the memory


def overlapping_pairs(
    boxes: Float[Tensor, "M 4"], classes: Int[Tensor, " M"], tiles: Int[Tensor, " M"]
) -> Int[Tensor, "pairs 2"]:
    """Indices of all pairs of boxes that overlap and are of one class and of different tiles."""
    if len(boxes) < 2:
        return classes.new_zeros(0, 2)
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0)
    size = sides.prod(dim=1)
    # Cells of a box's size have the fewest pairs. The mean counts where a few boxes are much larger
    # than the others, and would be in very many cells.
    cell = max(size.sqrt().median(), size.mean().sqrt() / 2, torch.tensor(1.0))
    low = (boxes[:, :2] / cell).floor().long()
    spans = (boxes[:, 2:] / cell).floor().long() - low + 1  # columns and rows of cells
    low = low - low.amin(dim=0)
    extent = (low + spans).amax(dim=0)
    owner = torch.repeat_interleave(spans.prod(dim=1))
    number = _counted(spans.prod(dim=1))
    places = low[owner] + torch.stack([number % spans[owner, 0], number // spans[owner, 0]], dim=1)
    keys = (classes[owner] * extent[1] + places[:, 1]) * extent[0] + places[:, 0]
    order = keys.argsort()
    keys, owner, places = keys[order], owner[order], places[order]
    partners = torch.searchsorted(keys, keys, right=True) - torch.arange(len(keys)) - 1
    found = []
    for first, last in _runs(partners):
        one = torch.repeat_interleave(partners[first:last]) + first
        other = one + 1 + _counted(partners[first:last])
        a, b = owner[one], owner[other]
        # Two boxes may share several cells: the one with the corner of their intersection counts.
        kept = (torch.maximum(low[a], low[b]) == places[one]).all(dim=1) & (tiles[a] != tiles[b])
        a, b = a[kept], b[kept]
        kept = intersections(boxes[a], boxes[b]) > 0
        found.append(torch.stack([a[kept], b[kept]], dim=1))
    return torch.cat(found)


def intersections(
    a: Float[Tensor, "pairs 4"], b: Float[Tensor, "pairs 4"]
) -> Float[Tensor, " pairs"]:
    """Area of the intersection of each pair."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    return (high - low).clamp(min=0).prod(dim=1)


def areas(boxes: Float[Tensor, "M 4"]) -> Float[Tensor, " M"]:
    """Area of each box."""
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)


def _counted(counts: Int[Tensor, " M"]) -> Int[Tensor, " all"]:
    """0 .. n - 1 for each number n."""
    ends = counts.cumsum(0)
    return torch.arange(int(ends[-1])) - torch.repeat_interleave(ends - counts, counts)


def _runs(counts: Int[Tensor, " M"]) -> list[tuple[int, int]]:
    """Ranges of entries whose numbers sum up to what is done at once."""
    ends = counts.cumsum(0)
    cuts = torch.arange(_AT_ONCE, int(ends[-1]) + _AT_ONCE, _AT_ONCE)
    edges = [0, *torch.searchsorted(ends, cuts, right=True).tolist(), len(counts)]
    return [(a, b) for a, b in pairwise(edges) if a < b]
