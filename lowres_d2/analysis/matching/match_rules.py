"""Objects that a detector's anchors, points or queries are matched to, by its own rule.

The detector's own labels are used rather than a copy of its rule, so that subclasses with another
rule are right too. Shapes: M objects of an image. Boxes are XYXY in pixels of the detector's input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lowres_d2.modeling.meta_arch import DeformableDETR
from lowres_d2.structures import Size

import torch
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.modeling.proposal_generator import RPN
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor, nn

# Pairs of an object and an anchor in one image: about 0.5 GB of temporary memory.
PAIRS_PER_IMAGE = 20_000_000


@dataclass
class Matched:
    """Which of M objects are matched.

    Attributes:
        matched: (M,) whether an anchor, point or query is matched to the object.
        rescued: (M,) whether the only match is a low-quality one, with an anchor that would be
            background otherwise; None: no object.
        pairs: evaluated pairs of an object and an anchor, a measure of the work.
        chosen: indices of the evaluated objects; None for all.
    """

    matched: Tensor
    rescued: Tensor | None = None
    pairs: int = 0
    chosen: Tensor | None = None


@torch.no_grad()
def matched_objects(detector: nn.Module, boxes: Tensor, size: Size) -> Matched | None:
    """Which objects of an image a detector can match.

    Args:
        detector: built; RetinaNet, FCOS, an R-CNN (by its region proposal network), their
            subclasses, or Deformable DETR.
        boxes: (M, 4) in the detector's input.
        size: (height, width) of the detector's input.

    Returns:
        The matches; None where the detector's rule is not known. Where objects and anchors make
        more than ``PAIRS_PER_IMAGE`` pairs, only an evenly spread subset of the objects is
        evaluated.
    """
    if isinstance(detector, DeformableDETR):
        matched = torch.zeros(len(boxes), dtype=torch.bool)
        # Hungarian matching gives every object its own query, while there are queries left.
        matched[_spread(len(boxes), num_queries(detector))] = True
        return Matched(matched)
    matching = matching_part(detector)
    if matching is None:
        return None
    anchors = _anchors(matching.anchor_generator, detector.backbone, size)
    number = sum(len(level) for level in anchors)
    chosen = _spread(len(boxes), max(1, PAIRS_PER_IMAGE // number))
    boxes = Boxes(boxes[chosen].to(anchors[0].device))
    rule = _by_labels if isinstance(matching, DenseDetector) else _by_matcher
    matched = rule(matching, anchors, boxes, size)
    rescued = matched & _near_no_anchor(matching, anchors, boxes)
    return Matched(matched.cpu(), rescued.cpu(), number * len(boxes), chosen)


def matching_part(detector: nn.Module) -> Any:
    """The part of a detector that labels anchors; None where no such part is known."""
    part = getattr(detector, "proposal_generator", detector)
    known = isinstance(part, RPN) or (
        isinstance(part, DenseDetector) and hasattr(part, "label_anchors")
    )
    return part if known else None


def _anchors(generator: nn.Module, backbone: nn.Module, size: Size) -> list[Boxes]:
    """A detector's anchors of each level, for a batch of one image of this size."""
    multiple = max(1, backbone.size_divisibility)
    square = backbone.padding_constraints.get("square_size", 0)
    # Padded as ImageList.from_tensors pads a batch.
    height, width = (max(math.ceil(x / multiple) * multiple, square) for x in size)
    device = next(iter(generator.buffers())).device
    # Generators read only the sizes of feature maps, so one element stands for all.
    nothing = torch.empty(1, device=device)
    return generator(
        [
            nothing.expand(1, 1, math.ceil(height / s), math.ceil(width / s))
            for s in strides_of(generator)
        ]
    )


def strides_of(generator: nn.Module) -> list[int]:
    """Stride of the anchors of each level, in pixels."""
    return [stride[0] if isinstance(stride, tuple) else stride for stride in generator.strides]


def _by_labels(detector: Any, anchors: list[Boxes], boxes: Boxes, size: Size) -> Tensor:
    """Match by a dense detector's own labels; a class of its own identifies each object."""
    truth = Instances(size)
    truth.gt_boxes = boxes
    # Above the label of background, which is the number of classes.
    first = detector.num_classes + 1
    truth.gt_classes = torch.arange(first, first + len(boxes), device=boxes.device)
    labels, _ = detector.label_anchors(anchors, [truth])
    owners = labels[0][labels[0] >= first] - first
    return _mask(owners, len(boxes))


def _by_matcher(rpn: Any, anchors: list[Boxes], boxes: Boxes, size: Size) -> Tensor:
    """Match by a region proposal network's labels, before it samples some of them."""
    whole = Boxes.cat(anchors)
    owners, labels = rpn.anchor_matcher(pairwise_iou(boxes, whole))
    # As RPN.label_and_sample_anchors: anchors beyond the image are ignored.
    if rpn.anchor_boundary_thresh >= 0:
        labels[~whole.inside_box(size, rpn.anchor_boundary_thresh)] = -1
    return _mask(owners[labels == 1], len(boxes))


def _near_no_anchor(matching: Any, anchors: list[Boxes], boxes: Boxes) -> Tensor:
    """Objects whose best anchor would be background by its IoU alone."""
    matcher = getattr(matching, "anchor_matcher", None)
    if matcher is None or not matcher.allow_low_quality_matches:
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    lowest = min(bound for bound in matcher.thresholds if math.isfinite(bound))
    return pairwise_iou(boxes, Boxes.cat(anchors)).amax(dim=1) < lowest


def _mask(indices: Tensor, number: int) -> Tensor:
    mask = torch.zeros(number, dtype=torch.bool, device=indices.device)
    mask[indices] = True
    return mask


def _spread(number: int, at_most: int) -> Tensor:
    """At most ``at_most`` of ``number`` indices, evenly spread."""
    if number <= at_most:
        return torch.arange(number)
    return torch.arange(at_most) * number // at_most


def num_queries(detector: DeformableDETR) -> int:
    """Number of queries, the most objects of an image that can be matched."""
    queries = detector.queries
    return queries.num_queries if hasattr(queries, "num_queries") else len(queries.content)
