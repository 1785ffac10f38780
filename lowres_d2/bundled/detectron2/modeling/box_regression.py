"""Between boxes and the numbers that a network regresses, and the loss on them.

Sources: Girshick et al., R-CNN (2014), appendix C, for centre and log-size; Tian et al., FCOS
(2019), equation 1, for distances to the four sides.
Shapes: N boxes; deltas (N, K * 4) hold K predictions a box (one a class, or one). L levels, B
images, R anchors of all levels together. Boxes are XYXY in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2._uncovered import uncovered
from detectron2.layers import cat, ciou_loss, diou_loss
from detectron2.structures import Boxes
from fvcore.nn import giou_loss, smooth_l1_loss

__all__ = ["Box2BoxTransform", "Box2BoxTransformLinear", "Box2BoxTransformRotated"]

# A box grows at most to this many pixels from an anchor of 16, which keeps exp() finite.
_DEFAULT_SCALE_CLAMP = math.log(1000.0 / 16)


def _axes(boxes: torch.Tensor) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
    """Centre and size along x, then along y."""
    x1, y1, x2, y2 = boxes.unbind(dim=-1)
    return tuple(
        (start + 0.5 * (stop - start), stop - start) for start, stop in ((x1, x2), (y1, y2))
    )


class Box2BoxTransform:
    """Deltas (dx, dy, dw, dh): shift of the centre in box sizes, log of the change of size."""

    def __init__(
        self,
        weights: tuple[float, float, float, float],
        scale_clamp: float = _DEFAULT_SCALE_CLAMP,
    ):
        """
        Args:
            weights: factors on dx, dy, dw, dh, which bring them to about unit variance.
            scale_clamp: upper limit of dw and dh when they are applied.
        """
        self.weights = weights
        self.scale_clamp = scale_clamp

    def get_deltas(self, src_boxes: torch.Tensor, target_boxes: torch.Tensor) -> torch.Tensor:
        """The deltas (N, 4) that `apply_deltas` turns back into `target_boxes`.

        Args:
            src_boxes: anchors or proposals (N, 4), none of them empty.
            target_boxes: (N, 4), for example ground truth.

        Raises:
            ValueError: a source box has no width or height: its deltas would be infinite.
        """
        empty = (src_boxes[..., 2:] <= src_boxes[..., :2]).any(dim=-1)
        if empty.any():
            raise ValueError(
                f"Box2BoxTransform.get_deltas: {int(empty.sum())} of {len(src_boxes)} proposals or "
                f"anchors have no width or height, such as {src_boxes[empty][0].tolist()}; drop "
                "them (Boxes.nonempty)"
            )
        shifts, scales = [], []
        for (center, size), (goal, goal_size) in zip(
            _axes(src_boxes), _axes(target_boxes), strict=True
        ):
            shifts.append((goal - center) / size)
            scales.append(torch.log(goal_size / size))
        deltas = zip(shifts + scales, self.weights, strict=True)
        return torch.stack([delta * weight for delta, weight in deltas], dim=-1)

    def apply_deltas(self, deltas: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Move and scale boxes.

        Args:
            deltas: (N, K * 4).
            boxes: (N, 4).

        Returns:
            Boxes (N, K * 4), float32 whatever the precision of the deltas.
        """
        # float32: half-precision coordinates are whole pixels off.
        deltas = deltas.float()
        each = deltas.unflatten(1, (-1, 4)).unbind(-1)  # four of (N, K)
        # Divided by numbers: to make a tensor of the weights would stall a GPU.
        parts = [delta / weight for delta, weight in zip(each, self.weights, strict=True)]
        low, high = [], []
        for (center, size), shift, scale in zip(
            _axes(boxes.to(deltas.dtype)[:, None]), parts[:2], parts[2:], strict=True
        ):
            middle = shift * size + center
            half = 0.5 * (scale.clamp(max=self.scale_clamp).exp() * size)
            low.append(middle - half)
            high.append(middle + half)
        return torch.stack(low + high, dim=-1).reshape(deltas.shape)


class Box2BoxTransformLinear:
    """Deltas (left, top, right, bottom): distances of the box's centre to the target's sides."""

    def __init__(self, normalize_by_size: bool = True):
        """
        Args:
            normalize_by_size: measure the distances in sizes of the source box (its stride, where
                it stands for a cell of a feature map) rather than in pixels.
        """
        self.normalize_by_size = normalize_by_size

    def get_deltas(self, src_boxes: torch.Tensor, target_boxes: torch.Tensor) -> torch.Tensor:
        """The deltas (N, 4); negative where the centre lies outside of the target.

        Args:
            src_boxes: (N, 4).
            target_boxes: (N, 4).
        """
        centers = 0.5 * (src_boxes[..., :2] + src_boxes[..., 2:])
        deltas = torch.cat([centers - target_boxes[..., :2], target_boxes[..., 2:] - centers], -1)
        if self.normalize_by_size:
            sizes = src_boxes[..., 2:] - src_boxes[..., :2]
            deltas = deltas / torch.cat([sizes, sizes], dim=-1)
        return deltas

    def apply_deltas(self, deltas: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Boxes that reach as far from the centres of `boxes` as the deltas say.

        Args:
            deltas: (N, K * 4); negative ones count as zero.
            boxes: (N, 4).

        Returns:
            Boxes (N, K * 4), float32.
        """
        # float32 as above; the IoU losses too refuse a mixture of precisions.
        reach = F.relu(deltas.float()).unflatten(1, (-1, 4))  # (N, K, 4)
        boxes = boxes.float()[:, None]
        centers = 0.5 * (boxes[..., :2] + boxes[..., 2:])
        if self.normalize_by_size:
            sizes = boxes[..., 2:] - boxes[..., :2]
            reach = reach * torch.cat([sizes, sizes], dim=-1)
        corners = torch.cat([centers - reach[..., :2], centers + reach[..., 2:]], dim=-1)
        return corners.reshape(deltas.shape)


Box2BoxTransformRotated = uncovered("Box2BoxTransformRotated")

_BOX_LOSSES = {"giou": giou_loss, "diou": diou_loss, "ciou": ciou_loss}


def _dense_box_regression_loss(
    anchors: list[Boxes] | list[torch.Tensor],
    box2box_transform: Box2BoxTransform | Box2BoxTransformLinear,
    pred_anchor_deltas: list[torch.Tensor],
    gt_boxes: Sequence[torch.Tensor],
    fg_mask: torch.Tensor,
    box_reg_loss_type: str = "smooth_l1",
    smooth_l1_beta: float = 0.0,
) -> torch.Tensor:
    """Sum of the box loss over the foreground anchors of a batch.

    Args:
        anchors: L levels of anchors, R in all, the same for each image.
        box2box_transform: what the predictions mean.
        pred_anchor_deltas: L predictions (B, anchors of the level, 4).
        gt_boxes: B boxes (R, 4): what each anchor is to predict.
        fg_mask: bool (B, R), the anchors that count.
        box_reg_loss_type: `smooth_l1` on deltas, or `giou`, `diou`, `ciou` on boxes.
        smooth_l1_beta: where smooth L1 turns from squared to absolute.
    """
    if box_reg_loss_type != "smooth_l1" and box_reg_loss_type not in _BOX_LOSSES:
        raise ValueError(
            f"box_reg_loss_type {box_reg_loss_type!r}: expected smooth_l1, {', '.join(_BOX_LOSSES)}"
        )
    # Only foreground is encoded or decoded: it is a small part of the R anchors.
    image, index = fg_mask.nonzero(as_tuple=True)
    sources = cat([a.tensor if isinstance(a, Boxes) else a for a in anchors])[index]
    targets = torch.stack(tuple(gt_boxes))[image, index]
    deltas = cat(pred_anchor_deltas, dim=1)[image, index]
    if box_reg_loss_type == "smooth_l1":
        goal = box2box_transform.get_deltas(sources, targets)
        return smooth_l1_loss(deltas, goal, beta=smooth_l1_beta, reduction="sum")
    predicted = box2box_transform.apply_deltas(deltas, sources)
    return _BOX_LOSSES[box_reg_loss_type](predicted, targets, reduction="sum")
