"""A network's image as its backbone gets it: normalised and padded."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


def normalized(image: Float[Tensor, "C h w"], detector: nn.Module) -> Float[Tensor, "1 C H W"]:
    """The batch of one image, as a detector's ``preprocess_image`` makes it.

    Args:
        image: 0 to 255.
        detector: has ``pixel_mean``, ``pixel_std`` and a ``backbone``.

    Raises:
        ValueError: the backbone asks for square images.
    """
    constraints = getattr(detector.backbone, "padding_constraints", None) or {}
    if constraints.get("square_size", 0) > 0:
        raise ValueError("a backbone that pads images to squares has no form for export")
    multiple = constraints.get("size_divisibility", detector.backbone.size_divisibility)
    image = (image - detector.pixel_mean) / detector.pixel_std
    for axis in (1, 2) if multiple > 1 else ():
        image = _padded(image, axis, multiple)
    return image[None]


def _padded(
    image: Float[Tensor, "C h w"], axis: int, multiple: int
) -> Float[Tensor, "C padded_h padded_w"]:
    """Zeros at the end of an axis, up to a multiple."""
    length = image.shape[axis]
    blocks = (length + multiple - 1) // multiple
    if not isinstance(blocks, int):
        # Through a tensor, so that to torch.export the number of blocks is a symbol of its own, not
        # an expression of the image's size: lengths of feature maps are whole shares of it, which
        # takes sympy far less time (measured: a third).
        blocks = torch.scalar_tensor(blocks, dtype=torch.int64).item()
        torch._check(blocks >= 1)
    index = torch.arange(blocks * multiple)
    inside = (index < length).to(image)
    shape = [-1 if k == axis else 1 for k in range(3)]
    return image.index_select(axis, index.clamp(max=length - 1)) * inside.view(shape)
