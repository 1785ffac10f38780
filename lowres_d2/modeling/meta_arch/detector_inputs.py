"""The border between a composition and the detector inside it: Detectron2 inputs and outputs.

Going in, an image is replaced by its low-resolution copy (float32, 0 to 255, channels as they
came), ground truth and proposals are moved to its frame, and ``height`` and ``width`` are set to
the padded full-resolution size, so that the detector's own post-processing scales by exactly the
factor. Coming out, detections are clipped to the image and brought to the size that the input
asked for. At a factor of 1 nothing but the image is touched. Boxes are XYXY pixels of the frame
at hand.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from lowres_d2.structures import (
    Size,
    drop_small,
    fit_instances,
    low_res_size,
    padded_size,
    scale_instances,
)

from detectron2.structures import Instances
from torch import Tensor

# What post-processing makes of these is laid out in the padded frame, and is not cut back here.
_SPATIAL_OUTPUTS = ("sem_seg", "panoptic_seg")


def detector_input(
    original: dict[str, Any], low_res: Tensor | None, size: Size, factor: Fraction
) -> dict[str, Any]:
    """Detectron2 input for the detector.

    Args:
        original: the composition's input.
        low_res: low-resolution image, 0 to 255; None where it is the original itself.
        size: size of the full-resolution image.
        factor: full-resolution pixels in one low-resolution pixel.

    Raises:
        ValueError: the input has something with coordinates that cannot be moved.
    """
    inputs = dict(original)
    if low_res is not None:
        inputs["image"] = low_res
    if factor == 1:
        return inputs
    for key, value in original.items():
        if isinstance(value, Instances):
            inputs[key] = scale_instances(value, factor, low_res_size(size, factor))
        elif isinstance(value, Tensor) and value.dim() > 1 and key != "image":
            raise ValueError(
                f"input '{key}' may be laid out like the image and cannot be moved to the "
                "low-resolution frame: remove it in the mapper, or use a factor of 1"
            )
    inputs["height"], inputs["width"] = padded_size(size, factor)
    return inputs


def drop_small_objects(
    original: dict[str, Any], inputs: dict[str, Any], min_size: float
) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Leave out objects that have become too small, from both frames alike.

    Args:
        original: the composition's input.
        inputs: the detector's.
        min_size: least shorter side, in pixels of the detector's image.

    Returns:
        The two inputs without those objects, and how many there were.
    """
    instances = inputs.get("instances")
    if instances is None or not min_size or not instances.has("gt_boxes"):
        return original, inputs, 0
    remaining, kept = drop_small(instances, min_size)
    return (
        {**original, "instances": original["instances"][kept]},
        {**inputs, "instances": remaining},
        len(instances) - len(remaining),
    )


def restore_output(
    output: dict[str, Any], original: dict[str, Any], size: Size, factor: Fraction
) -> dict[str, Any]:
    """Bring one image's detections to the frame that the input asked for.

    Raises:
        ValueError: the detector did not post-process to the size that it was told, or its output
            has something with coordinates that cannot be moved.
    """
    if factor == 1:
        return output
    told = padded_size(size, factor)
    wanted = original.get("height", size[0]), original.get("width", size[1])
    restored = {}
    for key, value in output.items():
        if key in _SPATIAL_OUTPUTS:
            raise ValueError(f"output '{key}' is not supported at a factor other than 1: {factor}")
        if isinstance(value, Instances):
            if tuple(value.image_size) != told:
                raise ValueError(
                    f"the detector gave '{key}' for a size of {tuple(value.image_size)} though its "
                    f"input said {told}: it has to post-process to `height` and `width`"
                )
            value = fit_instances(value, size, wanted)
        restored[key] = value
    return restored
