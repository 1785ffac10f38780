"""Axis-aligned boxes.

Shapes: N, M boxes; P points. A box is (x1, y1, x2, y2) in absolute pixels of its image, in the
continuous frame whose origin is the image's top-left corner; a size is (height, width).
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Any, List, Tuple  # noqa: UP035 (TorchScript evaluates them)

import numpy as np
import torch
from torch import Tensor, device


@unique
class BoxMode(IntEnum):
    """How the numbers of a box are to be read."""

    XYXY_ABS = 0
    """x1, y1, x2, y2 in pixels."""
    XYWH_ABS = 1
    """x1, y1, width, height in pixels."""
    XYXY_REL = 2
    """As XYXY_ABS, as fractions of the image's size; cannot be converted."""
    XYWH_REL = 3
    """As XYWH_ABS, as fractions of the image's size; cannot be converted."""
    XYWHA_ABS = 4
    """Centre x, centre y, width, height, angle in degrees (counter-clockwise is positive)."""

    @staticmethod
    def convert(box: Any, from_mode: BoxMode, to_mode: BoxMode) -> Any:
        """Express boxes in another mode; the input is left alone.

        Args:
            box: one box as a list or tuple of 4 numbers, or boxes as an array or tensor (..., 4);
                of XYWHA_ABS 5.
            from_mode: mode of `box`.
            to_mode: mode wanted. XYWHA_ABS is reached from XYWH_ABS; from it come the upright
                boxes around the rotated ones, as XYXY_ABS.

        Returns:
            The same type and dtype as `box`, and the same shape but for the number of numbers.
        """
        source, wanted = BoxMode(from_mode), BoxMode(to_mode)
        if source == wanted:
            return box
        if BoxMode.XYWHA_ABS in (source, wanted):
            return _convert_rotated(box, source, wanted)
        if {source, wanted} != {BoxMode.XYXY_ABS, BoxMode.XYWH_ABS}:
            raise NotImplementedError(
                f"BoxMode.convert: no conversion from {source.name} to {wanted.name}: relative "
                "boxes need the image's size, convert them by hand"
            )
        # Only the second corner differs from the size, by the first corner.
        sign = 1 if wanted == BoxMode.XYXY_ABS else -1
        if isinstance(box, list | tuple):
            if len(box) != 4:
                raise ValueError(f"BoxMode.convert: expected 4 numbers in a box, got {box!r}")
            x, y, right, bottom = box
            return type(box)((x, y, right + sign * x, bottom + sign * y))
        if box.shape[-1] != 4:
            raise ValueError(f"BoxMode.convert: expected shape (..., 4), got {tuple(box.shape)}")
        converted = box.clone() if isinstance(box, Tensor) else np.array(box)
        converted[..., 2:] += sign * converted[..., :2]
        return converted


def _convert_rotated(box: Any, source: BoxMode, wanted: BoxMode) -> Any:
    """`BoxMode.convert` from or to XYWHA_ABS."""
    if (source, wanted) not in (
        (BoxMode.XYWH_ABS, BoxMode.XYWHA_ABS),
        (BoxMode.XYWHA_ABS, BoxMode.XYXY_ABS),
    ):
        raise NotImplementedError(
            f"BoxMode.convert: no conversion from {source.name} to {wanted.name}: for rotated "
            "boxes, only XYWH_ABS to XYWHA_ABS and XYWHA_ABS to XYXY_ABS are supported"
        )
    given = box if isinstance(box, Tensor) else torch.from_numpy(np.array(box))
    one_box = isinstance(box, list | tuple)
    numbers = 5 if source == BoxMode.XYWHA_ABS else 4
    if given.shape[-1:] != (numbers,) or (one_box and given.dim() != 1):
        raise ValueError(f"BoxMode.convert: expected {numbers} numbers in a box, got {box!r}")
    exact = given.double()
    position, size = exact[..., :2], exact[..., 2:4]
    if wanted == BoxMode.XYWHA_ABS:
        converted = torch.cat((position + size / 2, size, torch.zeros_like(size[..., :1])), dim=-1)
    else:
        angle = torch.deg2rad(exact[..., 4:])
        half = (size * angle.cos().abs() + size.flip(-1) * angle.sin().abs()) / 2
        converted = torch.cat((position - half, position + half), dim=-1)
    converted = converted.to(given.dtype)
    if one_box:
        return type(box)(converted.tolist())
    return converted if isinstance(box, Tensor) else converted.numpy()


class Boxes:
    """N boxes, as a float32 tensor with the operations a detector needs.

    Attributes:
        tensor: float32 (N, 4), XYXY_ABS.
    """

    def __init__(self, tensor: Tensor):
        """Wrap `tensor` (anything that converts to a float32 (N, 4) tensor; empty gives N = 0)."""
        if isinstance(tensor, Tensor):
            tensor = tensor.to(torch.float32)
        else:
            tensor = torch.as_tensor(tensor, dtype=torch.float32)
        if tensor.numel() == 0:
            # Keeps the graph alive, unlike a fresh tensor.
            tensor = tensor.reshape((-1, 4))
        assert tensor.dim() == 2 and tensor.size(-1) == 4, tensor.size()
        self.tensor = tensor

    def clone(self) -> Boxes:
        """A copy with its own memory."""
        return Boxes(self.tensor.clone())

    def to(self, device: device) -> Boxes:
        """The boxes on `device`."""
        return Boxes(self.tensor.to(device=device))

    def area(self) -> Tensor:
        """Areas (N,), in square pixels."""
        x1, y1, x2, y2 = self.tensor.unbind(dim=1)
        return (x2 - x1) * (y2 - y1)

    def clip(self, box_size: Tuple[int, int]) -> None:  # noqa: UP006
        """Move the corners into an image of `box_size` (height, width), in place."""
        assert torch.isfinite(self.tensor).all(), "boxes with infinite or NaN coordinates"
        height, width = box_size
        x = self.tensor[:, 0::2].clamp(min=0, max=width)
        y = self.tensor[:, 1::2].clamp(min=0, max=height)
        # (N, 2 corners, xy) is x1, y1, x2, y2 once flattened.
        self.tensor = torch.stack((x, y), dim=-1).flatten(1)

    def nonempty(self, threshold: float = 0.0) -> Tensor:
        """Bool (N,): both sides are longer than `threshold`."""
        x1, y1, x2, y2 = self.tensor.unbind(dim=1)
        # Faster than `all` over an axis of two.
        return (x2 - x1 > threshold) & (y2 - y1 > threshold)

    # `item` is not annotated: TorchScript, which knows no slices, then takes it for a tensor.
    def __getitem__(self, item) -> Boxes:
        """The boxes that `item` (index, slice, index tensor or bool mask) selects, as `Boxes`."""
        if isinstance(item, int):
            return Boxes(self.tensor[item].unsqueeze(0))
        selected = self.tensor[item]
        assert selected.dim() == 2, "an index of Boxes must select whole boxes"
        return Boxes(selected)

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __repr__(self) -> str:
        return "Boxes(" + str(self.tensor) + ")"

    def inside_box(self, box_size: Tuple[int, int], boundary_threshold: int = 0) -> Tensor:  # noqa: UP006
        """Bool (N,): the box lies within an image of `box_size`, give or take the threshold."""
        height, width = box_size
        x1, y1, x2, y2 = self.tensor.unbind(dim=1)
        starts_inside = (x1 >= -boundary_threshold) & (y1 >= -boundary_threshold)
        return (
            starts_inside & (x2 < width + boundary_threshold) & (y2 < height + boundary_threshold)
        )

    def get_centers(self) -> Tensor:
        """Centres (N, 2) as (x, y)."""
        return (self.tensor[:, :2] + self.tensor[:, 2:]) / 2

    def scale(self, scale_x: float, scale_y: float) -> None:
        """Multiply the coordinates, in place."""
        self.tensor[:, 0::2] *= scale_x
        self.tensor[:, 1::2] *= scale_y

    @classmethod
    def cat(cls, boxes_list: List[Boxes]) -> Boxes:  # noqa: UP006
        """The boxes of all elements, in order; an empty list gives no boxes."""
        if len(boxes_list) == 0:
            return cls(torch.empty(0))
        return cls(torch.cat([boxes.tensor for boxes in boxes_list], dim=0))

    @property
    def device(self) -> device:
        """Where the boxes are."""
        return self.tensor.device

    @torch.jit.unused
    def __iter__(self):
        """Yields each box as a tensor (4,)."""
        yield from self.tensor


def pairwise_intersection(boxes1: Boxes, boxes2: Boxes) -> Tensor:
    """Areas (N, M) that each of `boxes1` (N) shares with each of `boxes2` (M)."""
    first, second = boxes1.tensor[:, None], boxes2.tensor[None]
    top_left = torch.max(first[..., :2], second[..., :2])
    bottom_right = torch.min(first[..., 2:], second[..., 2:])
    return (bottom_right - top_left).clamp_(min=0).prod(dim=2)


def pairwise_iou(boxes1: Boxes, boxes2: Boxes) -> Tensor:
    """Intersection over union (N, M); 0 where the boxes do not meet."""
    shared = pairwise_intersection(boxes1, boxes2)
    union = boxes1.area()[:, None] + boxes2.area() - shared
    return torch.where(shared > 0, shared / union, shared.new_zeros(1))


def pairwise_ioa(boxes1: Boxes, boxes2: Boxes) -> Tensor:
    """Intersection over the area of `boxes2` (N, M); 0 where the boxes do not meet."""
    shared = pairwise_intersection(boxes1, boxes2)
    return torch.where(shared > 0, shared / boxes2.area(), shared.new_zeros(1))


def matched_pairwise_iou(boxes1: Boxes, boxes2: Boxes) -> Tensor:
    """Intersection over union (N,) of the i-th box of one with the i-th of the other."""
    if len(boxes1) != len(boxes2):
        raise ValueError(f"matched_pairwise_iou: {len(boxes1)} boxes against {len(boxes2)}")
    top_left = torch.max(boxes1.tensor[:, :2], boxes2.tensor[:, :2])
    bottom_right = torch.min(boxes1.tensor[:, 2:], boxes2.tensor[:, 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(dim=1)
    return shared / (boxes1.area() + boxes2.area() - shared)


def pairwise_point_box_distance(points: Tensor, boxes: Boxes) -> Tensor:
    """Distances (P, M, 4) of points to the left, top, right and bottom edges of boxes.

    Args:
        points: (P, 2) as (x, y).
        boxes: M boxes.

    Returns:
        Positive where the point is on the inner side of the edge.
    """
    points = points[:, None]
    corners = boxes.tensor[None]
    return torch.cat((points - corners[..., :2], corners[..., 2:] - points), dim=2)
