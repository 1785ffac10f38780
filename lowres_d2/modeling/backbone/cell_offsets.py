"""Where the cells of a backbone's feature maps lie in its input.

The centre of cell ``i`` is at ``stride * i + offset`` (pixels of the input, continuous, origin
top-left), as in ``FeatureMap``. The offset is 1/2 for odd kernels padded by half of them. A 2x2
pooling moves it by half a cell of its input, a patch embedding to half a stride.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from lowres_d2.modeling.modes import in_eval_mode

import torch
from torch import nn

# A multiple of every usual stride, so that widths of feature maps tell strides exactly.
_SIDE = 128


@torch.no_grad()
def cell_offsets(network: nn.Module, channels: int = 3) -> dict[str, float]:
    """Offset of each output: the coordinate of cell 0's centre in the network's input.

    Strided layers count, and of layers side by side the one that moves the centre most: a strided
    1x1 shortcut stays where it is beside a branch whose pooling moves it by half a cell. Upsampling
    (a pyramid's top-down path) and poolings that are function calls are taken to keep the centres.

    Args:
        network: maps images to feature maps by name. It runs once, on an empty image.
        channels: of its images.
    """
    moves: dict[int, float] = {}  # stride of a layer's output -> pixels that it moves the centres
    strided = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
    hooks = [
        layer.register_forward_hook(partial(_note, moves))
        for layer in network.modules()
        if isinstance(layer, strided)
    ]
    try:
        parameter = next(network.parameters())
        with in_eval_mode(network):
            maps = network(parameter.new_zeros(1, channels, _SIDE, _SIDE))
    finally:
        for hook in hooks:
            hook.remove()
    return {
        name: 0.5 + sum(move for stride, move in moves.items() if stride <= _stride(features))
        for name, features in maps.items()
    }


def _note(moves: dict[int, float], layer: Any, inputs: tuple, output: torch.Tensor) -> None:
    """Keep how far a strided layer moves the centres."""
    before, after = _stride(inputs[0]), _stride(output)
    if after == before:
        return
    padding = 0 if layer.padding == "valid" else layer.padding  # "same" allows no stride
    kernel, padding, dilation = (
        value if isinstance(value, int) else value[1]
        for value in (layer.kernel_size, padding, getattr(layer, "dilation", 1))
    )
    move = before * (dilation * (kernel - 1) / 2 - padding)
    if abs(move) >= abs(moves.get(after, 0.0)):
        moves[after] = move


def _stride(features: torch.Tensor) -> int:
    return round(_SIDE / features.shape[-1])
