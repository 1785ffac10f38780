"""Ground truth as a detector sees it that gets large images in tiles."""

from __future__ import annotations

from collections.abc import Iterator

from lowres_d2.structures import Size, TileGrid

import torch
from torch import Tensor


def objects_of_tiles(
    size: Size, boxes: Tensor, grid: TileGrid
) -> Iterator[tuple[Size, Tensor, Tensor]]:
    """The objects of an image, each on the tile that has most of it, the first one of several.

    Args:
        size: of the image.
        boxes: (M, 4), XYXY in its pixels.
        grid: how it is cut.

    Yields:
        Size of a tile that has objects, their boxes in its pixels, cut at its border, and their
        indices.
    """
    windows = grid.windows(size)
    places = torch.tensor(windows, dtype=boxes.dtype)
    low = torch.maximum(boxes[:, None, :2], places[:, :2])
    high = torch.minimum(boxes[:, None, 2:], places[:, 2:])
    parts = torch.cat([low, high], dim=2)
    chosen = (high - low).clamp(min=0).prod(dim=2).argmax(dim=1)
    for index in chosen.unique().tolist():
        members = (chosen == index).nonzero()[:, 0]
        corner = places[index, :2].repeat(2)
        yield windows[index].size, parts[members, index] - corner, members
