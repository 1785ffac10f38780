"""Where a pooler's cells really are, and pooling from the right place.

ROIAlignV2 takes the centre of a feature map's cell ``i`` to be at ``stride * (i + 1/2)``. Padded
convolutions have it at ``stride * i + 1/2``: what is pooled lies ``(stride - 1) / 2`` pixels left
of the box and above it, 7.5 at stride 16. In an image at half the size these are twice as many
pixels of the full image, so that regions pooled from both would show different places.
Boxes are XYXY in pixels of the image that the feature maps are of.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.modeling.poolers import ROIPooler, assign_boxes_to_levels
from detectron2.structures import Boxes
from jaxtyping import Float
from torch import Tensor


def pooled_at(pooler: ROIPooler, boxes: Sequence[Boxes], offsets: Sequence[float]) -> list[Boxes]:
    """The regions that a pooler's cells really show, given boxes.

    Args:
        pooler: pools from one or several feature maps.
        boxes: boxes of each image.
        offsets: of each feature map, the coordinate of cell 0's centre.
    """
    return _moved(boxes, -_displacements(pooler, boxes, offsets))


def pool_exactly(
    pooler: ROIPooler,
    features: Sequence[Float[Tensor, "N _C _h _w"]],
    boxes: Sequence[Boxes],
    offsets: Sequence[float],
) -> Float[Tensor, "R C P P"]:
    """Pool from where boxes really are: the inverse of :func:`pooled_at` before the pooler.

    Args:
        pooler: pools from one or several feature maps.
        features: these feature maps.
        boxes: boxes of each image, R in all.
        offsets: of each feature map, the coordinate of cell 0's centre.
    """
    return pooler(list(features), _moved(boxes, _displacements(pooler, boxes, offsets)))


def _displacements(
    pooler: ROIPooler, boxes: Sequence[Boxes], offsets: Sequence[float]
) -> Float[Tensor, " R"]:
    """Pixels from where the pooler looks to the box, along both axes."""
    of_levels = []
    for level, offset in zip(pooler.level_poolers, offsets, strict=True):
        # Where the pooler has the centre of cell 0: half a stride, but at 0 in the old ROIAlign.
        taken = 0.5 / level.spatial_scale if getattr(level, "aligned", True) else 0.0
        of_levels.append(taken - offset)
    device = boxes[0].device
    if len(of_levels) == 1:
        return torch.full((sum(map(len, boxes)),), of_levels[0], device=device)
    rows = assign_boxes_to_levels(
        list(boxes),
        pooler.min_level,
        pooler.max_level,
        pooler.canonical_box_size,
        pooler.canonical_level,
    )
    return torch.tensor(of_levels, device=device)[rows]


def _moved(boxes: Sequence[Boxes], by: Float[Tensor, " R"]) -> list[Boxes]:
    parts = by.split([len(b) for b in boxes])
    return [Boxes(b.tensor + part[:, None]) for b, part in zip(boxes, parts, strict=True)]
