"""Anchors of feature maps of any size, in operations that all formats have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from jaxtyping import Float
from torch import Tensor, nn


def check_generator(generator: nn.Module) -> None:
    """Raise unless these anchors can be exported.

    Raises:
        ValueError: it is another generator than Detectron2's.
    """
    if type(generator) is not DefaultAnchorGenerator:
        raise ValueError(f"anchors of a {type(generator).__name__} have no form for export")


def anchors_of(
    generator: nn.Module, features: Sequence[Float[Tensor, "1 C _h _w"]]
) -> list[Float[Tensor, "_S 4"]]:
    """Anchors of each level, as the generator makes them, which repeats numbers so often as a map
    has rows: ONNX's exporter gets that wrong.

    Args:
        generator: one that :func:`check_generator` lets pass.
        features: the levels, of which only the sizes matter.
    """
    anchors = []
    levels = zip(features, generator.strides, generator.cell_anchors, strict=True)
    for level, stride, cell in levels:
        y, x = ((torch.arange(n) + generator.offset) * stride for n in level.shape[-2:])
        anchors.append(_grid(x, y, cell))
    return anchors


def _grid(
    x: Float[Tensor, " w"], y: Float[Tensor, " h"], cell: Float[Tensor, "A 4"]
) -> Float[Tensor, "S 4"]:
    x1, y1, x2, y2 = cell.unbind(1)
    sides = (
        x1 + x[None, :, None],
        y1 + y[:, None, None],
        x2 + x[None, :, None],
        y2 + y[:, None, None],
    )
    return torch.stack(torch.broadcast_tensors(*sides), dim=-1).flatten(0, 2)
