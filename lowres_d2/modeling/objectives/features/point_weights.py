"""Weights of image points: how much objects count against the background.

Source: the separation of foreground and background in Yang et al., "Focal and Global Knowledge
Distillation for Detectors" (CVPR 2022), Eq. 2 to 4: every object counts the same, however small,
and so does every background point.

Boxes are XYXY in pixels of the full-resolution image, and so are points. Shapes: M objects, P
points.
"""

from __future__ import annotations

from collections.abc import Sequence

from lowres_d2.structures import FeatureMap

import torch
from torch import Tensor


def foreground_weights(
    boxes: Sequence[Tensor], cells: FeatureMap, foreground_share: float
) -> list[Tensor]:
    """Weights of a batch's points, summing to 1 (to less where there is no object).

    Args:
        boxes: (M, 4) ground truth of each image.
        cells: the map whose cells inside the images are the points.
        foreground_share: of the weight that all objects of the batch share equally.

    Returns:
        (P,) for each image, rows of cells one after another.
    """
    per_object = foreground_share / max(sum(len(b) for b in boxes), 1)
    foreground, background = [], []
    for index, objects in enumerate(boxes):
        inside = _cells_in(objects, cells, index)  # (M, P)
        share = inside / inside.sum(dim=1, keepdim=True).clamp(min=1)
        foreground.append(per_object * share.sum(dim=0))
        background.append((~inside.any(dim=0)).float())
    points = sum(b.sum() for b in background)
    return [
        f + (1 - foreground_share) * b / points.clamp(min=1)
        for f, b in zip(foreground, background, strict=True)
    ]


def _cells_in(boxes: Tensor, cells: FeatureMap, index: int) -> Tensor:
    """(M, P): whether a cell stands in a box that is taken to be at least one stride wide."""
    stride, offset = float(cells.stride), float(cells.offset)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    # A little more than half a stride: of two cells at equal distance, both.
    half = ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp(min=stride * 0.5001)
    rows, columns = (
        torch.arange(count, device=boxes.device) * stride + offset
        for count in cells.cells_inside(index)
    )
    in_columns = (columns - centres[:, :1]).abs() <= half[:, :1]
    in_rows = (rows - centres[:, 1:]).abs() <= half[:, 1:]
    return (in_rows[:, :, None] & in_columns[:, None, :]).flatten(1)
