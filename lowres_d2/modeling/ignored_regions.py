"""Ignore regions in training: what a detector would learn as background there is left out.

For the time of a forward pass the methods in which Detectron2's detectors label anchors, proposals
and cells are wrapped, so that any detector made of these has it, unmodified:

- RPN and RetinaNet: anchors labelled background get the label -1, which no loss counts;
- ROI heads, Cascade R-CNN's later stages too: such proposals are dropped after sampling;
- FCOS, which knows no such label: cells' logits are replaced by one whose loss and gradient are 0.

An anchor, proposal or cell lies in a region if half of its own area does, where a region at an edge
of the image goes on beyond it, as anchors do. What is matched to an object stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from detectron2.modeling.meta_arch.fcos import FCOS
from detectron2.modeling.meta_arch.retinanet import RetinaNet
from detectron2.modeling.proposal_generator.rpn import RPN
from detectron2.modeling.roi_heads.cascade_rcnn import CascadeROIHeads
from detectron2.modeling.roi_heads.roi_heads import ROIHeads
from detectron2.structures import Boxes, Instances
from jaxtyping import Bool, Float
from torch import Tensor, nn

SHARE = 0.5
_CERTAIN = -1e4  # a logit of probability 0, also in float16
_FAR = 1e6  # pixels


@contextmanager
def ignoring(detector: nn.Module, ignored: Sequence[Instances]) -> Iterator[None]:
    """While this is open, the detector learns nothing from background in the regions.

    Args:
        detector: in training mode, called with the images that the regions are of.
        ignored: ignore regions of each image as ``gt_boxes``, in its pixels as the detector gets
            it.

    Raises:
        ValueError: there are regions, and the detector has nothing that could leave them out.
    """
    if not any(len(own) for own in ignored):
        yield
        return
    regions = [_beyond_edges(own) for own in ignored]
    wrapped: list[tuple[nn.Module, str]] = []
    try:
        for module in detector.modules():
            for kind, name, wrap in _WRAPPERS:
                if isinstance(module, kind):
                    # Before the class's own in the look-up, and gone without a trace afterwards.
                    module.__dict__[name] = wrap(module, getattr(module, name), regions)
                    wrapped.append((module, name))
        if not wrapped:
            raise ValueError(
                f"mapper.crowds='ignore': {type(detector).__name__} has no anchors, proposals or "
                "cells that can be left out of training; use crowds='blank'"
            )
        yield
    finally:
        for module, name in wrapped:
            del module.__dict__[name]


@torch.no_grad()
def lies_inside(boxes: Float[Tensor, "R 4"], regions: Boxes) -> Bool[Tensor, " R"]:
    """Which boxes have half of their area or more in one of the regions."""
    inside = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
    # One at a time: a crowded image has hundreds, and 100,000 anchors.
    for region in regions.tensor.to(boxes.device):
        sides = torch.minimum(boxes[:, 2:], region[2:]) - torch.maximum(boxes[:, :2], region[:2])
        inside |= (sides.clamp(min=0).prod(dim=1) >= SHARE * areas) & (areas > 0)
    return inside


def _beyond_edges(ignored: Instances) -> Boxes:
    regions, (height, width) = ignored.gt_boxes.tensor.clone(), ignored.image_size
    ends = regions.new_tensor([width, height])
    regions[:, :2][regions[:, :2] <= 0] = -_FAR
    regions[:, 2:][regions[:, 2:] >= ends] = _FAR
    return Boxes(regions)


def _anchors_of_rpn(_: RPN, label: Callable, regions: Sequence[Boxes]) -> Callable:
    def labelled(anchors: list[Boxes], gt_instances: list[Instances]) -> Any:
        labels, boxes = label(anchors, gt_instances)
        every = Boxes.cat(anchors).tensor
        # Labels of RPN: 1 an object, 0 background.
        return [_masked(own, 0, every, r) for own, r in zip(labels, regions, strict=True)], boxes

    return labelled


def _anchors_of_retinanet(model: RetinaNet, label: Callable, regions: Sequence[Boxes]) -> Callable:
    def labelled(anchors: list[Boxes], gt_instances: list[Instances]) -> Any:
        labels, boxes = label(anchors, gt_instances)
        every, background = Boxes.cat(anchors).tensor, model.num_classes
        return [
            _masked(own, background, every, r) for own, r in zip(labels, regions, strict=True)
        ], boxes

    return labelled


def _masked(labels: Tensor, background: int, anchors: Tensor, regions: Boxes) -> Tensor:
    return labels.masked_fill((labels == background) & lies_inside(anchors, regions), -1)


def _sampled_proposals(heads: ROIHeads, sample: Callable, regions: Sequence[Boxes]) -> Callable:
    def sampled(proposals: list[Instances], targets: list[Instances]) -> list[Instances]:
        return _outside(heads, sample(proposals, targets), regions)

    return sampled


def _proposals_of_stage(
    heads: CascadeROIHeads, match: Callable, regions: Sequence[Boxes]
) -> Callable:
    def matched(
        proposals: list[Instances], stage: int, targets: list[Instances]
    ) -> list[Instances]:
        return _outside(heads, match(proposals, stage, targets), regions)

    return matched


def _outside(
    heads: ROIHeads, proposals: list[Instances], regions: Sequence[Boxes]
) -> list[Instances]:
    return [
        own[
            (own.gt_classes != heads.num_classes) | ~lies_inside(own.proposal_boxes.tensor, ignored)
        ]
        for own, ignored in zip(proposals, regions, strict=True)
    ]


def _cells_of_fcos(model: FCOS, losses: Callable, regions: Sequence[Boxes]) -> Callable:
    def masked(
        anchors: list[Boxes], pred_logits: list[Tensor], gt_labels: list[Tensor], *rest: Any
    ) -> dict[str, Tensor]:
        cells = Boxes.cat(anchors).tensor
        left_out = torch.stack(
            [
                (labels == model.num_classes) & lies_inside(cells, ignored)
                for labels, ignored in zip(gt_labels, regions, strict=True)
            ]
        )
        of_levels = left_out.split([len(level) for level in anchors], dim=1)
        logits = [
            level.masked_fill(mask[..., None], _CERTAIN)
            for level, mask in zip(pred_logits, of_levels, strict=True)
        ]
        return losses(anchors, logits, gt_labels, *rest)

    return masked


_WRAPPERS: tuple[tuple[type[nn.Module], str, Callable[..., Callable]], ...] = (
    (RPN, "label_and_sample_anchors", _anchors_of_rpn),
    (RetinaNet, "label_anchors", _anchors_of_retinanet),
    (FCOS, "losses", _cells_of_fcos),
    (ROIHeads, "label_and_sample_proposals", _sampled_proposals),
    (CascadeROIHeads, "_match_and_label_boxes", _proposals_of_stage),
)
