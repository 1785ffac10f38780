"""FCOS in which every object, however small, has a positive location.

FCOS calls a location positive for an object when it lies inside the object's box. An object smaller
than the finest stride mostly contains none: of 8-pixel objects at 4x, 4 % do. Here an object that
is left without a location gets the nearest one of its level that is free. Such a location lies
outside the box, where distances to its four sides cannot be regressed and FCOS's centre-ness is not
a number: boxes are regressed by centre and size instead, and centre-ness is extended.

Shapes: M objects, R locations of all levels. Boxes are XYXY in pixels of the detector's image; a
location is the centre of its anchor, a square of one stride.
"""

from __future__ import annotations

from typing import Any

from lowres_d2.row_chunks import CHUNK_ENTRIES, best_rows

import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.meta_arch.fcos import FCOS
from detectron2.structures import Boxes, Instances
from torch import Tensor

# Locations that an object may be given, so that at most as many share a place.
_CANDIDATES = 64
# FCOS's scale ranges: the sides of a box are at most this many strides from its locations.
_STRIDES_TO_A_SIDE = 8


class NearestPointFCOS(FCOS):
    """Detectron2's FCOS; arguments are those of ``FCOS``.

    Args:
        box2box_transform: how boxes are regressed from locations; by default by centre and size,
            relative to an anchor of one stride.
    """

    def __init__(self, *, box2box_transform: Box2BoxTransform | None = None, **kwargs: Any) -> None:
        super().__init__(
            box2box_transform=box2box_transform or Box2BoxTransform((1.0, 1.0, 1.0, 1.0)), **kwargs
        )

    @torch.no_grad()
    def label_anchors(
        self, anchors: list[Boxes], gt_instances: list[Instances]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """As FCOS's, by :meth:`owners`: labels (R,) and boxes (R, 4) of each image."""
        labels, boxes = [], []
        for truth in gt_instances:
            owner = self.owners(truth.gt_boxes, anchors)
            if len(truth):
                index = owner.clamp(min=0)
                labels.append(truth.gt_classes[index].masked_fill(owner < 0, self.num_classes))
                boxes.append(truth.gt_boxes.tensor[index])
            else:
                labels.append(torch.full_like(owner, self.num_classes))
                boxes.append(torch.zeros_like(Boxes.cat(anchors).tensor))
        return labels, boxes

    def owners(self, gt_boxes: Boxes, anchors: list[Boxes]) -> Tensor:
        """The object (R,) that each location is positive for, -1 for none.

        FCOS's own choice, and a location for every object that would have none.

        Args:
            gt_boxes: M objects.
            anchors: the locations of each level, finest first.
        """
        number = sum(len(level) for level in anchors)
        if not len(gt_boxes):
            return torch.full((number,), -1, device=gt_boxes.device)
        quality, owner = best_rows(
            lambda rows: self._match_anchors(gt_boxes[rows], anchors), len(gt_boxes), number
        )
        owner = torch.where(quality > 0, owner, -1)
        owned = torch.bincount(owner[owner >= 0], minlength=len(gt_boxes))
        orphans = (owned == 0).nonzero().squeeze(1)
        if len(orphans):
            nearest = _nearest_locations(gt_boxes.tensor[orphans], anchors)
            chosen = _share_out(orphans.tolist(), nearest.tolist(), owner.tolist(), owned.tolist())
            pairs = torch.tensor(chosen, dtype=torch.long, device=owner.device)
            orphan, location = pairs.reshape(-1, 2).T
            owner[location] = orphan
        return owner

    def compute_ctrness_targets(self, anchors: list[Boxes], gt_boxes: list[Tensor]) -> Tensor:
        """Centre-ness in boxes that are taken to be at least two strides wide and high.

        The nearest location of an object is at most half a stride from its centre, so that it has a
        centre-ness of at least 1/3.

        Args:
            anchors: per level.
            gt_boxes: per image, the (R, 4) box of each location's object.

        Returns:
            (number of images, R).
        """
        squares = Boxes.cat(anchors).tensor
        boxes = torch.stack(gt_boxes)
        stride = (squares[:, 2:] - squares[:, :2]).expand_as(boxes[..., 2:])
        half = torch.maximum((boxes[..., 2:] - boxes[..., :2]) / 2, stride)
        away = ((squares[:, :2] + squares[:, 2:] - boxes[..., :2] - boxes[..., 2:]) / 2).abs()
        ratio = (half - away).clamp(min=0) / (half + away)
        return ratio.prod(dim=-1).sqrt()


def _nearest_locations(boxes: Tensor, anchors: list[Boxes]) -> Tensor:
    """(number of boxes, candidates) locations of each box's level, nearest to its centre first.

    Its level is the finest one whose scale range reaches from the centre to the farthest side.
    """
    strides = torch.stack([level.tensor[0, 2] - level.tensor[0, 0] for level in anchors])
    half = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1) / 2
    level = (half[:, None] > _STRIDES_TO_A_SIDE * strides[:-1]).sum(dim=1)
    of_level = torch.repeat_interleave(
        torch.arange(len(anchors), device=boxes.device),
        torch.tensor([len(a) for a in anchors], device=boxes.device),
    )
    locations = Boxes.cat(anchors).get_centers()
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    step = max(1, CHUNK_ENTRIES // len(locations))
    nearest = []
    for some, their_level in zip(centres.split(step), level.split(step), strict=True):
        # Not by way of a matrix product, which loses the last tenths of a pixel.
        distance = torch.cdist(some, locations, compute_mode="donot_use_mm_for_euclid_dist")
        distance += torch.where(their_level[:, None] == of_level, 0.0, 1e6)
        nearest.append(distance.topk(min(_CANDIDATES, len(locations)), largest=False).indices)
    return torch.cat(nearest)


def _share_out(
    orphans: list[int], nearest: list[list[int]], owner: list[int], owned: list[int]
) -> list[tuple[int, int]]:
    """Give each orphan its nearest location that is not another object's only one.

    Where all of its candidates (at most 64) are others' only ones it stays without: of a denser
    cluster only so many objects are learned from.

    Args:
        orphans: objects without a location.
        nearest: for each of them candidates, nearest first.
        owner: for each location its object, -1 for none.
        owned: for each object how many locations it has.

    Returns:
        (object, location) pairs.
    """
    chosen = []
    for orphan, candidates in zip(orphans, nearest, strict=True):
        for location in candidates:
            present = owner[location]
            if present >= 0 and owned[present] == 1:
                continue
            if present >= 0:
                owned[present] -= 1
            owner[location], owned[orphan] = orphan, 1
            chosen.append((orphan, location))
            break
    return chosen
