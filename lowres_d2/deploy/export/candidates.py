"""What the networks of all detectors give before post-processing, and the post-processing itself.

S candidates of a level, of each K classes. Boxes are XYXY in pixels of the network's image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.ops import nms

# Boxes and scores of a level; a box for each class, or one for all.
Level = tuple[Float[Tensor, "_S K 4"] | Float[Tensor, "_S 4"], Float[Tensor, "_S K"]]
Found = tuple[Float[Tensor, "M 4"], Float[Tensor, " M"], Int64[Tensor, " M"]]


@dataclass(frozen=True)
class Selection:
    """How candidates become detections, as Detectron2's detectors do it.

    Attributes:
        max_detections: number of detections, at most.
        score_threshold: they score above it; None: all do.
        per_level: number of candidates of each level, at most; None: all.
        nms_threshold: IoU above which the weaker of two boxes of a class goes; None: none goes.
        clip_first: whether boxes are clipped to the network's image before they are compared.
    """

    max_detections: int
    score_threshold: float | None = None
    per_level: int | None = None
    nms_threshold: float | None = None
    clip_first: bool = False

    def __call__(self, levels: Sequence[Level], size: tuple[int, int]) -> Found:
        """The detections, best first.

        Args:
            levels: candidates.
            size: height and width of the network's image.
        """
        boxes, scores, classes = (torch.cat(x) for x in zip(*map(self._best, levels), strict=True))
        if self.score_threshold is not None:
            above = (scores > self.score_threshold).nonzero()[:, 0]
            boxes, scores, classes = boxes[above], scores[above], classes[above]
        if self.clip_first:
            boxes = clipped(boxes, size)
        if self.nms_threshold is None:
            kept = scores.topk(torch.sym_min(self.max_detections, scores.shape[0])).indices
        else:
            kept = kept_by_class(boxes, scores, classes, self.nms_threshold)[: self.max_detections]
        return boxes[kept], scores[kept], classes[kept]

    def _best(self, level: Level) -> Found:
        """The level's best pairs of candidate and class."""
        boxes, scores = level
        number = scores.shape[1]
        pairs = scores.flatten()
        if self.per_level is not None:
            # With zeros, which no threshold lets pass, there are enough on every image: the number
            # is no expression of the image's size, with which torch.export would take long.
            pairs, order = F.pad(pairs, (0, self.per_level)).topk(self.per_level)
            order = order.clamp(max=scores.numel() - 1)
        else:
            order = torch.arange(pairs.shape[0], device=pairs.device)
        if boxes.dim() == 3:
            boxes = boxes.flatten(0, 1)
            return boxes if self.per_level is None else boxes[order], pairs, order % number
        return boxes[order // number], pairs, order % number

    def known(self) -> dict[str, Any]:
        """The settings as plain values, from which the class makes them again."""
        return asdict(self)


def clipped(boxes: Float[Tensor, "M 4"], size: tuple[int, int]) -> Float[Tensor, "M 4"]:
    """Boxes clipped to an image of a height and width."""
    height, width = size
    x1, y1, x2, y2 = boxes.unbind(1)
    # Not in place and without a tensor of the limits, which graphs of any size cannot hold.
    sides = x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)
    return torch.stack(sides, dim=1)


def kept_by_class(
    boxes: Float[Tensor, "M 4"],
    scores: Float[Tensor, " M"],
    classes: Int64[Tensor, " M"],
    threshold: float,
) -> Int64[Tensor, " kept"]:
    """Indices that NMS within each class keeps, best first.

    As ``torchvision.ops.batched_nms`` does it for few boxes, without its choices by their number:
    each class is moved to a place of its own, so that no box of it meets another's.
    """
    # The zero stands for boxes where there are none.
    farthest = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max()
    moved = boxes + (classes.to(boxes) * (farthest + 1))[:, None]
    return nms(moved, scores, threshold)
