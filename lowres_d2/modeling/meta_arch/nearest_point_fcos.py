"""FCOS in which every object, however small, has a positive cell.

In FCOS a cell (its paper says location) is positive for an object if its centre lies inside the
object's box. Most objects that are smaller than the finest stride contain no centre: of 8-pixel
objects at 4x, 4 % do. Here an object without a positive cell gets the nearest free cell of its
level. The centre of that cell may lie outside the box, where distances to the four sides cannot be
regressed and FCOS's centre-ness is NaN. Therefore boxes are regressed by centre and size, and
centre-ness is extended.

Boxes are XYXY in pixels of the detector's image. A cell has one anchor, a square of one stride
around its centre.
"""

from __future__ import annotations

from typing import Any

from lowres_d2.row_chunks import CHUNK_ENTRIES, best_rows

import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.meta_arch.fcos import FCOS
from detectron2.structures import Boxes, Instances
from jaxtyping import Float, Int
from torch import Tensor

# Nearest cells that an object may get: of more objects at one place, only so many get a cell.
_CANDIDATES = 64
# FCOS's scale ranges: the sides of a box are at most this many strides from its cells' centres.
_STRIDES_TO_A_SIDE = 8


class NearestPointFCOS(FCOS):
    """Detectron2's FCOS, with its arguments.

    Args:
        box2box_transform: how boxes are regressed from anchors; by default by centre and size,
            relative to the anchor.
        **kwargs: arguments of ``FCOS``.
    """

    def __init__(self, *, box2box_transform: Box2BoxTransform | None = None, **kwargs: Any) -> None:
        super().__init__(
            box2box_transform=box2box_transform or Box2BoxTransform((1.0, 1.0, 1.0, 1.0)), **kwargs
        )

    @torch.no_grad()
    def label_anchors(
        self, anchors: list[Boxes], gt_instances: list[Instances]
    ) -> tuple[list[Int[Tensor, " S"]], list[Float[Tensor, "S 4"]]]:
        """Classes and boxes that the cells of each image learn; :meth:`owners` assigns objects."""
        labels, boxes = [], []
        for instances in gt_instances:
            owner = self.owners(instances.gt_boxes, anchors)
            if len(instances):
                # -1 would be the last object. These cells are background: no loss reads their box.
                index = owner.clamp(min=0)
                labels.append(instances.gt_classes[index].masked_fill(owner < 0, self.num_classes))
                boxes.append(instances.gt_boxes.tensor[index])
            else:
                labels.append(torch.full_like(owner, self.num_classes))
                boxes.append(torch.zeros_like(Boxes.cat(anchors).tensor))
        return labels, boxes

    def owners(self, gt_boxes: Boxes, anchors: list[Boxes]) -> Int[Tensor, " S"]:
        """Index of the object that each cell is positive for, -1 for none.

        This is FCOS's own assignment, plus a cell for each object that would have none.

        Args:
            gt_boxes: boxes of the objects.
            anchors: anchors of each level, finest level first.
        """
        number = sum(len(level) for level in anchors)
        if not len(gt_boxes):
            return torch.full((number,), -1, device=gt_boxes.device)
        # A few objects at a time: all of them with all cells need not fit in memory.
        quality, owner = best_rows(
            lambda rows: self._match_anchors(gt_boxes[rows], anchors), len(gt_boxes), number
        )
        owner = torch.where(quality > 0, owner, -1)
        owned = torch.bincount(owner[owner >= 0], minlength=len(gt_boxes))
        orphans = (owned == 0).nonzero().squeeze(1)
        if len(orphans):
            nearest = _nearest_cells(gt_boxes.tensor[orphans], anchors)
            # In Python, because each choice depends on those before it.
            chosen = _assign(orphans.tolist(), nearest.tolist(), owner.tolist(), owned.tolist())
            pairs = torch.tensor(chosen, dtype=torch.long, device=owner.device)
            # The reshape is for no pairs at all, a tensor of shape (0,).
            orphan, cell = pairs.reshape(-1, 2).T
            owner[cell] = orphan
        return owner

    def compute_ctrness_targets(
        self, anchors: list[Boxes], gt_boxes: list[Float[Tensor, "S 4"]]
    ) -> Float[Tensor, "N S"]:
        """Centre-ness of cells, where each side of a box counts as at least two strides.

        The nearest cell of an object is at most half a stride from the object's centre on either
        axis, so that it has a centre-ness of at least 1/3.

        Args:
            anchors: anchors of each level.
            gt_boxes: for each image the box of each cell's object.
        """
        squares = Boxes.cat(anchors).tensor
        boxes = torch.stack(gt_boxes)
        stride = (squares[:, 2:] - squares[:, :2]).expand_as(boxes[..., 2:])
        half = torch.maximum((boxes[..., 2:] - boxes[..., :2]) / 2, stride)
        away = ((squares[:, :2] + squares[:, 2:] - boxes[..., :2] - boxes[..., 2:]) / 2).abs()
        # Nearer over farther side, as in FCOS, Eq. 3. Outside a box it would be negative, and its
        # root NaN.
        ratio = (half - away).clamp(min=0) / (half + away)
        return ratio.prod(dim=-1).sqrt()


def _nearest_cells(
    boxes: Float[Tensor, "M 4"], anchors: list[Boxes]
) -> Int[Tensor, "M candidates"]:
    """Indices of the cells of each box's level whose centres are nearest to its own, nearest first.

    A box's level is the finest one whose scale range reaches from the centre to the farthest side.
    """
    strides = torch.stack([level.tensor[0, 2] - level.tensor[0, 0] for level in anchors])
    half = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1) / 2
    # The number of levels that are too fine for a box; the last one takes all others.
    level = (half[:, None] > _STRIDES_TO_A_SIDE * strides[:-1]).sum(dim=1)
    of_level = torch.repeat_interleave(
        torch.arange(len(anchors), device=boxes.device),
        torch.tensor([len(a) for a in anchors], device=boxes.device),
    )
    cells = Boxes.cat(anchors).get_centers()
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    step = max(1, CHUNK_ENTRIES // len(cells))
    nearest = []
    for some, their_level in zip(centres.split(step), level.split(step), strict=True):
        # A matrix product would lose the last tenths of a pixel.
        distance = torch.cdist(some, cells, compute_mode="donot_use_mm_for_euclid_dist")
        # 1e6 px is farther than any cell of an image: other levels only fill up the candidates.
        distance += torch.where(their_level[:, None] == of_level, 0.0, 1e6)
        nearest.append(distance.topk(min(_CANDIDATES, len(cells)), largest=False).indices)
    return torch.cat(nearest)


def _assign(
    orphans: list[int], nearest: list[list[int]], owner: list[int], owned: list[int]
) -> list[tuple[int, int]]:
    """Assign to each orphan its nearest cell that is not the only cell of another object.

    An orphan gets no cell if each of its candidates (at most 64) is the only cell of another
    object. Of a denser cluster only so many objects are therefore trained on.

    Args:
        orphans: objects without a cell.
        nearest: candidate cells of each orphan, nearest first.
        owner: object of each cell, -1 for none; changed in place.
        owned: number of cells of each object; changed in place.

    Returns:
        (object, cell) pairs.
    """
    chosen = []
    for orphan, candidates in zip(orphans, nearest, strict=True):
        for cell in candidates:
            present = owner[cell]
            if present >= 0 and owned[present] == 1:
                continue
            if present >= 0:
                owned[present] -= 1
            owner[cell], owned[orphan] = orphan, 1
            chosen.append((orphan, cell))
            break
    return chosen
