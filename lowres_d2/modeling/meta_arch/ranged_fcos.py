"""FCOS whose levels are for objects of chosen sizes, in place of 4 to 8 strides.

Source: ``regress_ranges`` of FCOS's head in mmdetection, as adapted to tiny objects in
TOV_mmdetection. Boxes are XYXY in pixels of the detector's image.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from detectron2.modeling.meta_arch.fcos import FCOS
from detectron2.structures import Boxes
from jaxtyping import Float
from torch import Tensor


class RangedFCOS(FCOS):
    """Detectron2's FCOS, with its arguments.

    Args:
        farthest_sides: for each level but the last, finest first, the distance in pixels from a
            cell to an object's farthest side up to which the cell can be positive; beyond it the
            next level is for the object. The last level is for all larger ones. Distances of
            4 to 8 strides, as in ``FCOS``, are ``[32, 64, 128, 256]`` at strides 4 to 64.
        **kwargs: arguments of ``FCOS``.

    Raises:
        ValueError: ``farthest_sides`` does not rise, or has not one number less than there are
            levels.
    """

    def __init__(self, *, farthest_sides: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        levels = len(self.head_in_features)
        limits = [0.0, *farthest_sides]
        if len(limits) != levels or any(a >= b for a, b in pairwise(limits)):
            raise ValueError(
                f"RangedFCOS: farthest_sides={[*farthest_sides]}: expected {levels - 1} rising "
                f"distances in pixels, one for each of the {levels} levels but the last"
            )
        self.farthest_sides = [*limits[1:], float("inf")]

    @torch.no_grad()
    def _match_anchors(self, gt_boxes: Boxes, anchors: list[Boxes]) -> Float[Tensor, "M S"]:
        """How well each cell suits each object, 0 where it does not."""
        quality, lower = [], 0.0
        for level, upper in zip(anchors, self.farthest_sides, strict=True):
            # To FCOS a level that is the only one is for objects of all sizes.
            suits = super()._match_anchors(gt_boxes, [level])
            x, y = level.get_centers().unbind(dim=1)
            x1, y1, x2, y2 = gt_boxes.tensor[..., None].unbind(dim=1)
            farthest = torch.maximum(torch.maximum(x - x1, x2 - x), torch.maximum(y - y1, y2 - y))
            quality.append(suits * ((farthest > lower) & (farthest <= upper)))
            lower = upper
        return torch.cat(quality, dim=1)
