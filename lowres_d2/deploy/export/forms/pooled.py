"""Regions pooled from the level of a pyramid that suits them, in operations that graphs have.

As Detectron2's ``ROIPooler``, whose checks of the boxes' number a graph of any number cannot have.
R regions of one image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.modeling.poolers import ROIPooler
from jaxtyping import Float
from torch import Tensor


def pooled(
    pooler: ROIPooler, maps: Sequence[Float[Tensor, "1 C _h _w"]], boxes: Float[Tensor, "R 4"]
) -> Float[Tensor, "R C P P"]:
    """Features of regions.

    Args:
        pooler: with a pooler for each level.
        maps: the levels.
        boxes: in pixels of the network's image.
    """
    regions = torch.cat([torch.zeros_like(boxes[:, :1]), boxes], dim=1)
    if len(maps) == 1:
        return pooler.level_poolers[0](maps[0], regions)
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    level = pooler.canonical_level + torch.log2(sides / pooler.canonical_box_size + 1e-8)
    level = level.floor().clamp(pooler.min_level, pooler.max_level) - pooler.min_level
    rows, found = [], []
    for index, (of_level, features) in enumerate(zip(pooler.level_poolers, maps, strict=True)):
        chosen = (level == index).nonzero()[:, 0]
        rows.append(chosen)
        found.append(of_level(features, regions[chosen]))
    # Back to the order of the boxes; a graph cannot know that the rows are as many.
    order = torch.cat(rows)
    places = torch.zeros_like(level, dtype=torch.int64)
    places = places.scatter(0, order, torch.arange(order.shape[0], device=order.device))
    return torch.cat(found)[places]
