"""Pooling of regions of interest from the level of a pyramid that suits their size.

Source: Lin et al., "Feature Pyramid Networks" (2017), section 4.2.
Shapes: R boxes of all images together; L levels of features (N, C, H, W). Boxes are XYXY in
pixels of the batched image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import List  # noqa: UP035  (TorchScript reads the annotations)

import torch
from detectron2._uncovered import uncovered
from detectron2.layers import ROIAlign, cat
from detectron2.structures import Boxes
from torch import nn
from torchvision.ops import RoIPool

__all__ = ["ROIPooler"]


def assign_boxes_to_levels(
    box_lists: List[Boxes],  # noqa: UP006
    min_level: int,
    max_level: int,
    canonical_box_size: int,
    canonical_level: int,
) -> torch.Tensor:
    """Which level each box is pooled from.

    Args:
        box_lists: the boxes of each image.
        min_level: exponent of the finest level, whose stride is 2**min_level.
        max_level: exponent of the coarsest.
        canonical_box_size: side, in pixels, of a box that belongs to the canonical level.
        canonical_level: that level's exponent.

    Returns:
        int64 (R,): 0 for the finest level.
    """
    sides = cat([boxes.area() for boxes in box_lists]).sqrt()
    # Equation 1; the small number keeps boxes of no area at a finite level.
    level = torch.floor(canonical_level + torch.log2(sides / canonical_box_size + 1e-8))
    return level.clamp(min=min_level, max=max_level).to(torch.int64) - min_level


def convert_boxes_to_pooler_format(box_lists: List[Boxes]) -> torch.Tensor:  # noqa: UP006
    """The boxes of all images as (R, 5): index of the image, then the box."""
    boxes = torch.cat([b.tensor for b in box_lists], dim=0)
    image = torch.cat(
        [torch.full_like(b.tensor[:, :1], float(i)) for i, b in enumerate(box_lists)], dim=0
    )
    return torch.cat([image, boxes], dim=1)


class ROIPooler(nn.Module):
    """Pools each box to a fixed size, from the level of features that suits it."""

    def __init__(
        self,
        output_size: int | Sequence[int],
        scales: Sequence[float],
        sampling_ratio: int,
        pooler_type: str,
        canonical_box_size: int = 224,
        canonical_level: int = 4,
    ):
        """
        Args:
            output_size: height and width of the result, or both at once.
            scales: 1 / stride of each level, finest first, each half of the one before.
            sampling_ratio: samples a bin along each axis for ROIAlign; 0 adapts to the box.
            pooler_type: `ROIAlignV2` (half-pixel correct), `ROIAlign` (without that) or `ROIPool`.
            canonical_box_size: see `assign_boxes_to_levels`.
            canonical_level: see `assign_boxes_to_levels`.
        """
        super().__init__()
        if isinstance(output_size, int):
            output_size = (output_size, output_size)
        if len(output_size) != 2:
            raise ValueError(f"ROIPooler output_size {output_size}: expected height and width")
        exponents = [-math.log2(scale) for scale in scales]
        first = int(exponents[0])
        if first < 0 or exponents != [first + i for i in range(len(exponents))]:
            raise ValueError(
                f"ROIPooler scales {scales}: expected 1 / 2**k, each half the one before"
            )
        if canonical_box_size <= 0:
            raise ValueError(f"ROIPooler canonical_box_size {canonical_box_size}: expected > 0")
        self.output_size = tuple(output_size)
        self.min_level, self.max_level = first, int(exponents[-1])
        self.canonical_level = canonical_level
        self.canonical_box_size = canonical_box_size
        self.level_poolers = nn.ModuleList(
            _level_pooler(pooler_type, self.output_size, scale, int(sampling_ratio))
            for scale in scales
        )

    def forward(
        self,
        x: List[torch.Tensor],  # noqa: UP006
        box_lists: List[Boxes],  # noqa: UP006
    ) -> torch.Tensor:
        """Pool.

        Args:
            x: the levels of features, as in `scales`.
            box_lists: the boxes of each image of the batch.

        Returns:
            (R, C, output height, output width), in the order of the boxes.
        """
        assert len(x) == len(self.level_poolers), (
            "ROIPooler: expected one feature map for each scale"
        )
        assert len(box_lists) == x[0].size(0), (
            "ROIPooler: expected one list of boxes for each image"
        )
        if len(box_lists) == 0:
            return x[0].new_zeros([0, x[0].size(1), self.output_size[0], self.output_size[1]])
        rois = convert_boxes_to_pooler_format(box_lists)
        if len(self.level_poolers) == 1:
            return self.level_poolers[0](x[0], rois)
        levels = assign_boxes_to_levels(
            box_lists,
            self.min_level,
            self.max_level,
            self.canonical_box_size,
            self.canonical_level,
        )
        result = x[0].new_zeros(
            [rois.size(0), x[0].size(1), self.output_size[0], self.output_size[1]]
        )
        for level, pooler in enumerate(self.level_poolers):
            chosen = torch.nonzero(levels == level).squeeze(1)
            # index_put_, not item assignment, which a trace with one chosen box gets wrong.
            result.index_put_((chosen,), pooler(x[level], rois[chosen]))
        return result


def _level_pooler(
    pooler_type: str, output_size: tuple[int, int], scale: float, sampling_ratio: int
) -> nn.Module:
    if pooler_type == "ROIPool":
        return RoIPool(output_size, spatial_scale=scale)
    if pooler_type == "ROIAlignRotated":
        return uncovered("ROIAlignRotated")()
    aligned = {"ROIAlign": False, "ROIAlignV2": True}
    if pooler_type not in aligned:
        raise ValueError(f"ROIPooler pooler_type {pooler_type!r}: ROIAlignV2, ROIAlign or ROIPool")
    return ROIAlign(
        output_size,
        spatial_scale=scale,
        sampling_ratio=sampling_ratio,
        aligned=aligned[pooler_type],
    )
