"""Transform ``Instances`` from one frame to another, with every field that has coordinates.

Boxes are XYXY in pixels of the frame whose (height, width) is the ``image_size`` of their
``Instances``. Boxes are transformed; fields with one number or string per instance have no
coordinates and are kept. Any other field is refused by name: masks or keypoints that stayed in the
old frame would be silently wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from lowres_d2.structures.frames import Size

import torch
from detectron2.structures import Boxes, Instances
from jaxtyping import Bool, Float
from torch import Tensor


def scale_instances(instances: Instances, factor: Fraction, image_size: Size) -> Instances:
    """Divide the coordinates of all boxes by the factor.

    Args:
        instances: objects in the full-resolution frame.
        factor: full-resolution pixels in one low-resolution pixel, on both axes.
        image_size: size of the low-resolution image.

    Returns:
        New ``Instances`` in the low-resolution frame; fields without coordinates are shared.
    """
    # q first, then p: multiplying by float(1 / f) would round the factor too (1 / 3).
    return _move(instances, image_size, lambda boxes: boxes * factor.denominator / factor.numerator)


def fit_instances(instances: Instances, size: Size, output_size: Size) -> Instances:
    """Clip detections to the image, then scale them to the requested size.

    Args:
        instances: detections in the frame of an image of ``size``; they may extend into padding.
        size: size of the image without padding.
        output_size: size of the requested frame; differs from ``size`` if the loader has resized
            the original image.

    Returns:
        New ``Instances`` of ``output_size``, without those entirely in the padding.
    """
    height, width = size
    limit = (width, height, width, height)
    # Two ratios: the loader resized each side to whole pixels, so they differ a little.
    ratio = (output_size[1] / width, output_size[0] / height) * 2

    def clip_and_scale(boxes: Float[Tensor, "M 4"]) -> Float[Tensor, "M 4"]:
        clipped = torch.minimum(boxes, boxes.new_tensor(limit)).clamp(min=0)
        return clipped if output_size == size else clipped * boxes.new_tensor(ratio)

    moved = _move(instances, output_size, clip_and_scale)
    # Clipping left a detection that was entirely in the padding without area.
    for value in moved.get_fields().values():
        if isinstance(value, Boxes):
            return moved[value.nonempty()]
    return moved


def drop_small(instances: Instances, min_size: float) -> tuple[Instances, Bool[Tensor, " M"]]:
    """Drop the objects whose shorter side is less than ``min_size`` pixels of their frame.

    Returns:
        The remaining instances, and a mask of the kept ones among all.
    """
    boxes = instances.gt_boxes.tensor
    kept = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1) >= min_size
    return instances[kept], kept


def _move(
    instances: Instances,
    image_size: Size,
    move_boxes: Callable[[Float[Tensor, "M 4"]], Float[Tensor, "M 4"]],
) -> Instances:
    moved = Instances(image_size)
    for name, value in instances.get_fields().items():
        # Not isinstance: Detectron2's RotatedBoxes is a subclass with other coordinates.
        if type(value) is Boxes:
            value = Boxes(move_boxes(value.tensor))
        elif not _has_no_coordinates(value):
            raise ValueError(
                f"field '{name}' ({type(value).__name__}) may hold coordinates and cannot be "
                "transformed to another frame: remove it in the mapper, or use a factor of 1"
            )
        moved.set(name, value)
    return moved


def _has_no_coordinates(value: Any) -> bool:
    if isinstance(value, Tensor):
        # One number per instance, such as a class; points and masks have more axes.
        return value.dim() == 1
    return isinstance(value, list) and all(isinstance(v, (bool, int, float, str)) for v in value)
