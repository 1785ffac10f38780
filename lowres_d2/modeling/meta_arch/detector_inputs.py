"""Inputs and outputs of the detector inside ``LowResDetector``, in Detectron2's format.

Inputs: the image is replaced by the low-resolution image (float32, 0 to 255, same channel order),
ground truth and proposals are scaled to its frame, and ``height`` and ``width`` are set to the
padded full-resolution size, so that the detector's own post-processing scales by exactly the
factor. Outputs: detections are clipped to the image and scaled to the size that the original input
asked for. At a factor of 1 only the image is changed. Boxes are XYXY, in pixels of the respective
frame.
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
from jaxtyping import Float
from torch import Tensor

# Post-processing resizes these to the padded frame; cropping them to the image is not implemented.
_SPATIAL_OUTPUTS = ("sem_seg", "panoptic_seg")


def detector_input(
    original: dict[str, Any],
    low_res: Float[Tensor, "C H W"] | None,
    size: Size,
    factor: Fraction,
) -> dict[str, Any]:
    """Detectron2 input for the detector.

    Args:
        original: input of ``LowResDetector``.
        low_res: low-resolution image, 0 to 255; None if it is the original image itself.
        size: size of the full-resolution image.
        factor: full-resolution pixels in one low-resolution pixel.

    Raises:
        ValueError: the input has a tensor that may have coordinates and cannot be scaled.
    """
    inputs = dict(original)
    if low_res is not None:
        inputs["image"] = low_res
    # Nothing else is touched, so that detections are bit-equal to the bare detector's.
    if factor == 1:
        return inputs
    for key, value in original.items():
        if isinstance(value, Instances):
            inputs[key] = scale_instances(value, factor, low_res_size(size, factor))
        elif isinstance(value, Tensor) and value.dim() > 1 and key != "image":
            raise ValueError(
                f"input '{key}' may have the image's coordinates and cannot be scaled to the "
                "low-resolution frame: remove it in the mapper, or use a factor of 1"
            )
    # Of the padded image: ratios of other sizes are off, by 3 px at 4x and a width of 1333.
    inputs["height"], inputs["width"] = padded_size(size, factor)
    return inputs


def drop_small_objects(
    original: dict[str, Any], inputs: dict[str, Any], min_size: float
) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Drop the objects that are too small at low resolution, in both frames.

    Args:
        original: input of ``LowResDetector``.
        inputs: input of the detector.
        min_size: least length of the shorter side, in pixels of the detector's image.

    Returns:
        Both inputs without those objects, and the number of objects dropped.
    """
    instances = inputs.get("instances")
    if instances is None or not min_size or not instances.has("gt_boxes"):
        return original, inputs, 0
    # One mask for both: objectives and detector see the same objects.
    remaining, kept = drop_small(instances, min_size)
    return (
        {**original, "instances": original["instances"][kept]},
        {**inputs, "instances": remaining},
        len(instances) - len(remaining),
    )


def restore_output(
    output: dict[str, Any], original: dict[str, Any], size: Size, factor: Fraction
) -> dict[str, Any]:
    """Scale the detections of one image to the frame that the original input asked for.

    Args:
        output: output of the detector.
        original: input of ``LowResDetector``.
        size: size of the full-resolution image.
        factor: full-resolution pixels in one low-resolution pixel.

    Raises:
        ValueError: the detector did not post-process to the ``height`` and ``width`` of its input,
            or its output has a segmentation, which cannot be scaled.
    """
    if factor == 1:
        return output
    expected = padded_size(size, factor)
    wanted = original.get("height", size[0]), original.get("width", size[1])
    restored = {}
    for key, value in output.items():
        if key in _SPATIAL_OUTPUTS:
            raise ValueError(f"output '{key}' is not supported at a factor other than 1: {factor}")
        if isinstance(value, Instances):
            if tuple(value.image_size) != expected:
                raise ValueError(
                    f"the detector's '{key}' have a size of {tuple(value.image_size)}, expected "
                    f"{expected}: the detector has to post-process to its input's `height` and "
                    "`width`"
                )
            value = fit_instances(value, size, wanted)
        restored[key] = value
    return restored
