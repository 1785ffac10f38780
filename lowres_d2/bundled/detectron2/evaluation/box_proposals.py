"""Recall of proposals: the share of ground truth boxes that the best proposals reach, by IoU.

Boxes are XYXY in pixels of the original image. G ground truth boxes, P proposals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from detectron2.structures import Boxes, BoxMode, pairwise_iou

# COCO's ranges first, then finer ones; by the json's `area`, in square pixels.
AREA_RANGES = {
    "all": (0**2, 1e5**2),
    "small": (0**2, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e5**2),
    "96-128": (96**2, 128**2),
    "128-256": (128**2, 256**2),
    "256-512": (256**2, 512**2),
    "512-inf": (512**2, 1e5**2),
}


def evaluate_box_proposals(
    dataset_predictions: Iterable[Mapping[str, Any]],
    coco_api: Any,
    thresholds: torch.Tensor | None = None,
    area: str = "all",
    limit: int | None = None,
) -> dict[str, Any]:
    """Average recall over IoU thresholds.

    Crowd boxes do not count, nor do images without any proposal, as in Detectron.

    Args:
        dataset_predictions: dicts of ``image_id`` and ``proposals`` (Instances with proposal_boxes
            and objectness_logits).
        coco_api: the ground truth, a pycocotools ``COCO``.
        thresholds: IoU thresholds; None for 0.50, 0.55, ..., 0.95.
        area: a key of ``AREA_RANGES``.
        limit: proposals per image, the best first; None for all.

    Returns:
        ``ar``, ``recalls`` and ``thresholds`` (tensors), ``gt_overlaps`` (the IoU that each counted
        ground truth box reaches, ascending) and ``num_pos`` (their number).
    """
    if area not in AREA_RANGES:
        raise ValueError(f"area is {area!r}, expected one of {', '.join(AREA_RANGES)}")
    low, high = AREA_RANGES[area]
    overlaps = [torch.zeros(0)]
    for prediction in dataset_predictions:
        proposals = prediction["proposals"]
        annotations = coco_api.loadAnns(coco_api.getAnnIds(imgIds=prediction["image_id"]))
        boxes = [
            BoxMode.convert(annotation["bbox"], BoxMode.XYWH_ABS, BoxMode.XYXY_ABS)
            for annotation in annotations
            if annotation["iscrowd"] == 0 and low <= annotation["area"] <= high
        ]
        if not boxes or len(proposals) == 0:
            continue
        best = proposals.objectness_logits.sort(descending=True)[1][:limit]
        ground_truth = Boxes(torch.as_tensor(boxes).reshape(-1, 4))
        overlaps.append(_match(pairwise_iou(ground_truth, proposals.proposal_boxes[best])))

    gt_overlaps = torch.cat(overlaps).sort()[0]
    if thresholds is None:
        thresholds = torch.arange(0.5, 0.95 + 1e-5, 0.05, dtype=torch.float32)
    reached = (gt_overlaps[None] >= thresholds[:, None]).float().sum(dim=1)
    recalls = reached / float(len(gt_overlaps)) if len(gt_overlaps) else reached * float("nan")
    return {
        "ar": recalls.mean(),
        "recalls": recalls,
        "thresholds": thresholds,
        "gt_overlaps": gt_overlaps,
        "num_pos": len(gt_overlaps),
    }


def _match(iou: torch.Tensor) -> torch.Tensor:
    """Greedy one-to-one matching, the largest IoU first.

    Args:
        iou: (G, P), overwritten.

    Returns:
        The IoU of each match, (G,); 0 for boxes left over when proposals run out.
    """
    boxes, proposals = iou.shape
    matched = torch.zeros(boxes)
    for step in range(min(boxes, proposals)):
        box, proposal = divmod(int(iou.argmax()), proposals)
        matched[step] = iou[box, proposal]
        iou[box, :] = -1
        iou[:, proposal] = -1
    return matched
