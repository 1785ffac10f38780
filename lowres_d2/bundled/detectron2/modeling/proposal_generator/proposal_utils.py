"""From scored boxes to proposals: ranking, suppression, and adding the ground truth.

Shapes: N images, A_l anchors of level l, R kept boxes. Boxes are XYXY in pixels of the batched
(network input) image. ``Instances`` of proposals have the fields ``proposal_boxes`` (Boxes) and
``objectness_logits`` (R,).
"""

from __future__ import annotations

import math

import torch
from detectron2.layers import batched_nms
from detectron2.structures import Boxes, Instances
from torch import Tensor

# The objectness that an added ground-truth box claims: a probability just below one.
_SURE = 1.0 - 1e-10
GROUND_TRUTH_LOGIT = math.log(_SURE / (1.0 - _SURE))


def top_anchors(logits: Tensor, pre_nms_topk: int) -> tuple[Tensor, Tensor]:
    """The best logits of one level in falling order.

    Args:
        logits: (N, A_l) objectness of one level.
        pre_nms_topk: most entries that a level keeps in each image.

    Returns:
        Logits and indices, each (N, min(A_l, pre_nms_topk)).
    """
    count = logits.shape[1]
    # Under torch.jit.trace a size is a tensor, and the minimum has to stay in the graph.
    tracing = isinstance(count, Tensor)
    best = count.clamp(max=pre_nms_topk) if tracing else min(count, pre_nms_topk)
    return logits.topk(best, dim=1)


def suppress_proposals(
    boxes: list[Tensor],
    logits: list[Tensor],
    image_sizes: list[tuple[int, int]],
    nms_thresh: float,
    post_nms_topk: int,
    min_box_size: float,
    training: bool,
) -> list[Instances]:
    """Clip, drop small boxes, suppress level by level and keep the best of all levels.

    Args:
        boxes: per level (N, K_l, 4), already cut to the best of the level.
        logits: per level (N, K_l).
        image_sizes: (height, width) of each image.
        nms_thresh: IoU above which the weaker of two boxes of a level goes.
        post_nms_topk: most proposals an image keeps over all levels.
        min_box_size: shortest side that a clipped box must exceed, in pixels.
        training: whether a box that is not finite is an error or is dropped.

    Returns:
        Per image an ``Instances`` of at most ``post_nms_topk`` proposals in falling order.
    """
    levels = torch.cat(
        [
            torch.full((part.shape[1],), level, dtype=torch.int64, device=part.device)
            for level, part in enumerate(logits)
        ]
    )
    all_boxes, all_logits = torch.cat(boxes, dim=1), torch.cat(logits, dim=1)

    results = []
    for index, image_size in enumerate(image_sizes):
        candidates, scores, level = Boxes(all_boxes[index]), all_logits[index], levels
        finite = candidates.tensor.isfinite().all(dim=1) & scores.isfinite()
        if training and not finite.all():
            raise FloatingPointError(
                "the proposals' boxes or scores are infinite or NaN: training has diverged; lower "
                "the learning rate or clip gradients"
            )
        candidates, scores, level = candidates[finite], scores[finite], level[finite]
        candidates.clip(image_size)
        large = candidates.nonempty(threshold=min_box_size)
        candidates, scores, level = candidates[large], scores[large], level[large]

        keep = batched_nms(candidates.tensor, scores, level, nms_thresh)[:post_nms_topk]
        found = Instances(image_size)
        found.proposal_boxes = candidates[keep]
        found.objectness_logits = scores[keep]
        results.append(found)
    return results


def find_top_rpn_proposals(
    proposals: list[Tensor],
    pred_objectness_logits: list[Tensor],
    image_sizes: list[tuple[int, int]],
    nms_thresh: float,
    pre_nms_topk: int,
    post_nms_topk: int,
    min_box_size: float,
    training: bool,
) -> list[Instances]:
    """Keep the best boxes of each level, suppress overlaps, keep the best of all levels.

    Args:
        proposals: per level (N, A_l, 4) decoded boxes.
        pred_objectness_logits: per level (N, A_l).
        image_sizes: (height, width) of each image.
        nms_thresh: IoU threshold of the suppression.
        pre_nms_topk: most boxes that a level sends into the suppression.
        post_nms_topk: most proposals that an image keeps.
        min_box_size: shortest side that a clipped box must exceed, in pixels.
        training: whether boxes that are not finite are an error (else they are dropped).

    Returns:
        Per image an ``Instances`` with ``proposal_boxes`` and ``objectness_logits``.
    """
    best_boxes, best_logits = [], []
    for boxes, logits in zip(proposals, pred_objectness_logits, strict=True):
        top, index = top_anchors(logits, pre_nms_topk)
        best_logits.append(top)
        best_boxes.append(boxes.gather(1, index[..., None].expand(-1, -1, boxes.shape[-1])))
    return suppress_proposals(
        best_boxes, best_logits, image_sizes, nms_thresh, post_nms_topk, min_box_size, training
    )


def add_ground_truth_to_proposals(
    gt: list[Instances] | list[Boxes], proposals: list[Instances]
) -> list[Instances]:
    """Append each image's ground-truth boxes to its proposals, as if scored almost surely.

    Args:
        gt: per image the targets (``gt_boxes`` and whatever else proposals carry), or boxes.
        proposals: per image the proposals.

    Returns:
        Per image the longer proposals, with the fields that the proposals had.
    """
    if len(gt) != len(proposals):
        raise ValueError(f"ground truth of {len(gt)} images for proposals of {len(proposals)}")
    return [
        add_ground_truth_to_proposals_single_image(*pair)
        for pair in zip(gt, proposals, strict=True)
    ]


def add_ground_truth_to_proposals_single_image(
    gt: Instances | Boxes, proposals: Instances
) -> Instances:
    """Of one image: see `add_ground_truth_to_proposals`."""
    fields = {"gt_boxes": gt} if isinstance(gt, Boxes) else gt.get_fields()
    sure = Instances(proposals.image_size, **fields)
    boxes = sure.gt_boxes
    sure.proposal_boxes = boxes
    sure.objectness_logits = boxes.tensor.new_full((len(boxes),), GROUND_TRUTH_LOGIT)
    for name in proposals.get_fields():
        assert sure.has(name), f"the ground truth lacks the field {name!r} that proposals have"
    return Instances.cat([proposals, sure])
