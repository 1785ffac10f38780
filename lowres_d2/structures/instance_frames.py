"""Moving ``Instances`` from one frame to another without losing a coordinate on the way.

Boxes are XYXY in pixels of the frame whose (height, width) is the ``image_size`` of their
``Instances``. Every field is either known to carry no coordinates (one number an instance), or it
is boxes and is moved, or it is refused by name: a mask or key point left in the old frame would be
wrong without anybody noticing.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from lowres_d2.structures.frames import Size

import torch
from detectron2.structures import Boxes, Instances


def scale_instances(instances: Instances, factor: Fraction, image_size: Size) -> Instances:
    """Divide all boxes by the factor.

    Args:
        instances: objects in the full-resolution frame.
        factor: full-resolution pixels in one low-resolution pixel, on both axes.
        image_size: size of the low-resolution image.

    Returns:
        New ``Instances`` in the low-resolution frame; fields without coordinates are shared.
    """
    return _move(instances, image_size, lambda boxes: boxes * factor.denominator / factor.numerator)


def fit_instances(instances: Instances, size: Size, output_size: Size) -> Instances:
    """Clip detections to the image, then scale them to the size that was asked for.

    Args:
        instances: detections in the frame of an image of ``size``, possibly reaching into padding.
        size: size of the image without padding.
        output_size: size of the frame that the caller wants; differs from ``size`` where the loader
            has resized the original image.

    Returns:
        New ``Instances`` of ``output_size``, without those that lay in the padding altogether.
    """
    height, width = size
    limit = (width, height, width, height)
    ratio = (output_size[1] / width, output_size[0] / height) * 2

    def clip_and_scale(boxes: torch.Tensor) -> torch.Tensor:
        clipped = torch.minimum(boxes, boxes.new_tensor(limit)).clamp(min=0)
        return clipped if output_size == size else clipped * boxes.new_tensor(ratio)

    moved = _move(instances, output_size, clip_and_scale)
    for value in moved.get_fields().values():
        if isinstance(value, Boxes):
            return moved[value.nonempty()]
    return moved


def drop_small(instances: Instances, min_size: float) -> tuple[Instances, torch.Tensor]:
    """Leave out the objects whose shorter side is under ``min_size`` pixels of their frame.

    Returns:
        The remaining instances, and the boolean mask (N,) of those kept.
    """
    boxes = instances.gt_boxes.tensor
    kept = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1) >= min_size
    return instances[kept], kept


def _move(instances: Instances, image_size: Size, move_boxes: Any) -> Instances:
    moved = Instances(image_size)
    for name, value in instances.get_fields().items():
        if type(value) is Boxes:
            value = Boxes(move_boxes(value.tensor))
        elif not _has_no_coordinates(value):
            raise ValueError(
                f"field '{name}' ({type(value).__name__}) may hold coordinates and cannot be moved "
                "to the low-resolution frame: remove it in the mapper, or use a factor of 1"
            )
        moved.set(name, value)
    return moved


def _has_no_coordinates(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.dim() == 1
    return isinstance(value, list) and all(isinstance(v, (bool, int, float, str)) for v in value)
