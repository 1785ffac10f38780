"""From the size at which a detector saw an image back to the size its user wants."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2._uncovered import needs_upstream
from detectron2.structures import Instances


def detector_postprocess(
    results: Instances, output_height: int, output_width: int, mask_threshold: float = 0.5
) -> Instances:
    """Scale detections to another size of image, clip them to it, drop the empty ones.

    Args:
        results: detections with `pred_boxes` (or `proposal_boxes`); left as they are.
        output_height: height wanted.
        output_width: width wanted.
        mask_threshold: for masks, which only upstream Detectron2 covers.
    """
    for field in ("pred_masks", "pred_keypoints"):
        if results.has(field):
            needs_upstream(f"detector_postprocess of {field}")
    field = "pred_boxes" if results.has("pred_boxes") else "proposal_boxes"
    if not results.has(field):
        raise ValueError("detector_postprocess: the detections have no pred_boxes")
    height, width = results.image_size
    boxes = results.get(field).clone()
    boxes.scale(float(output_width) / width, float(output_height) / height)
    boxes.clip((output_height, output_width))
    scaled = Instances((int(output_height), int(output_width)), **results.get_fields())
    scaled.set(field, boxes)
    return scaled[boxes.nonempty()]


def sem_seg_postprocess(
    result: torch.Tensor, img_size: tuple[int, int], output_height: int, output_width: int
) -> torch.Tensor:
    """Crop the padding off a map of class scores and scale it to another size.

    Args:
        result: (C, H, W), at the padded size.
        img_size: height and width without padding.
        output_height: height wanted.
        output_width: width wanted.

    Returns:
        (C, output_height, output_width).
    """
    height, width = img_size
    return F.interpolate(
        result[None, :, :height, :width],
        size=(output_height, output_width),
        mode="bilinear",
        align_corners=False,
    )[0]
