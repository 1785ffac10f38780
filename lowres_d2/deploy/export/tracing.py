"""From a module to a program of ``torch.export``, for one image of any size."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

# No multiple of any stride: the branches of images that need padding are those that are recorded.
HEIGHT, WIDTH = 203, 269


def traced(graph: nn.Module, channels: int, size: Sequence[int] | None = None) -> ExportedProgram:
    """The program of a graph.

    Args:
        graph: takes an image (C, H, W).
        channels: C.
        size: the only height and width that it takes; None: any.

    Raises:
        ValueError: an operation of it cannot be traced; says which.
    """
    image = torch.zeros(channels, *(size or (HEIGHT, WIDTH)))
    shapes = None if size else {"image": {1: Dim.DYNAMIC, 2: Dim.DYNAMIC}}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about torch's own code
        return torch.export.export(graph, (image,), dynamic_shapes=shapes, strict=False)
