"""Weights of image points, which balance objects against the background.

Source: the separation of foreground and background in Yang et al., "Focal and Global Knowledge
Distillation for Detectors" (CVPR 2022), Eq. 2 to 4: every object has the same weight, however
small, and every background point has the same weight.

Boxes are XYXY; boxes and points are in pixels of the full-resolution image.
"""

from __future__ import annotations

from collections.abc import Sequence

from lowres_d2.structures import FeatureMap

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def foreground_weights(
    boxes: Sequence[Float[Tensor, "_M 4"]], cells: FeatureMap, foreground_share: float
) -> list[Float[Tensor, " _X"]]:
    """Weights of a batch's points; they sum to 1, or to less if the batch has no object.

    Args:
        boxes: ground truth of each image.
        cells: feature map whose cells inside the images are the points.
        foreground_share: share of the total weight that goes to objects, equal for each of them.

    Returns:
        Weights of each image's points, row of cells after row.
    """
    per_object = foreground_share / max(sum(len(b) for b in boxes), 1)
    foreground, background = [], []
    for index, objects in enumerate(boxes):
        inside = _cells_in(objects, cells, index)  # (M, X)
        # An object beyond the outermost centres covers no cell: 0 / 1, not 0 / 0.
        share = inside / inside.sum(dim=1, keepdim=True).clamp(min=1)
        foreground.append(per_object * share.sum(dim=0))
        background.append((~inside.any(dim=0)).float())
    points = sum(b.sum() for b in background)
    return [
        f + (1 - foreground_share) * b / points.clamp(min=1)
        for f, b in zip(foreground, background, strict=True)
    ]


def _cells_in(boxes: Float[Tensor, "M 4"], cells: FeatureMap, index: int) -> Bool[Tensor, "M X"]:
    """Whether a cell's centre lies in a box, each side of which counts as at least one stride."""
    stride, offset = float(cells.stride), float(cells.offset)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    # A little more than half a stride, so that of two cells at equal distance both count.
    half = ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp(min=stride * 0.5001)
    rows, columns = (
        torch.arange(count, device=boxes.device) * stride + offset
        for count in cells.cells_inside(index)
    )
    in_columns = (columns - centres[:, :1]).abs() <= half[:, :1]
    in_rows = (rows - centres[:, 1:]).abs() <= half[:, 1:]
    return (in_rows[:, :, None] & in_columns[:, None, :]).flatten(1)
