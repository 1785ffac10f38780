"""Box regression losses on XYXY boxes (..., 4): DIoU and CIoU (Zheng et al., arXiv 1911.08287)."""

from __future__ import annotations

from torch import Tensor
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss


def diou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """Distance IoU loss (eq. 7): 1 - IoU + (centre distance / enclosing diagonal)^2.

    Args:
        boxes1: (N, 4) or (4,).
        boxes2: like `boxes1`.
        reduction: "none", "mean" (0 of no boxes) or "sum".
        eps: added to denominators.
    """
    return distance_box_iou_loss(boxes1, boxes2, reduction=reduction, eps=eps)


def ciou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """Complete IoU loss (eq. 10): DIoU loss plus a term for the difference in aspect ratio.

    Args:
        boxes1: (N, 4) or (4,).
        boxes2: like `boxes1`.
        reduction: "none", "mean" (0 of no boxes) or "sum".
        eps: added to denominators.
    """
    return complete_box_iou_loss(boxes1, boxes2, reduction=reduction, eps=eps)
