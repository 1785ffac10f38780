"""Non-maximum suppression. Boxes (N, 4), XYXY, any frame; scores (N,)."""

from __future__ import annotations

from detectron2._uncovered import uncovered
from torch import Tensor
from torchvision.ops import boxes as box_ops
from torchvision.ops import nms

__all__ = ["batched_nms", "batched_nms_rotated", "nms", "nms_rotated"]

batched_nms_rotated = uncovered("batched_nms_rotated")
nms_rotated = uncovered("nms_rotated")


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """NMS among the boxes of one group at a time.

    Args:
        boxes: (N, 4).
        scores: (N,).
        idxs: (N,) group (class, feature level) of each box.
        iou_threshold: of two boxes that overlap by more, the one with the lower score goes.

    Returns:
        int64 indices of the boxes kept, by falling score.
    """
    assert boxes.shape[-1] == 4, boxes.shape
    # float32 also for half-precision boxes, whose steps at 1000 px are half a pixel.
    return box_ops.batched_nms(boxes.float(), scores, idxs, iou_threshold)
