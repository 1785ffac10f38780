"""A model in the channels-last layout, without convolutions that this layout breaks on CPUs.

The backward pass of a strided 1x1 convolution with few input channels writes past its memory in
oneDNN (its issue 6035): with AVX-512 training crashes within a few iterations. The same convolution
of stride 1 on every second pixel computes the same numbers, as fast, and is free of this fault.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

# Of the vector instructions' blocks of channels, the largest has 16.
_BLOCK = 16


def to_channels_last(model: nn.Module) -> nn.Module:
    """Convert a model's weights to channels-last; on a CPU, also rewrite what would break.

    Args:
        model: on its device; it is changed, its parameters keep their names.

    Returns:
        The model.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and _breaks(module):
            module.register_forward_pre_hook(_KeepEvery(*module.stride))
            module.stride_of_hook, module.stride = module.stride, (1, 1)
    return model.to(memory_format=torch.channels_last)


def restore_strides(network: nn.Module) -> None:
    """Give rewritten convolutions their strides back, in a copy that has lost their hooks.

    Args:
        network: runs without gradients: only the backward pass of such convolutions is at fault.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and hasattr(module, "stride_of_hook"):
            module.stride = module.stride_of_hook
            del module.stride_of_hook


def _breaks(conv: nn.Conv2d) -> bool:
    strided = conv.kernel_size == (1, 1) and conv.stride != (1, 1)
    few = conv.in_channels // conv.groups < _BLOCK
    unpadded = conv.padding in (0, (0, 0), "valid")
    return strided and few and unpadded and conv.weight.device.type == "cpu"


class _KeepEvery:
    """Forward pre-hook: keeps the pixels at which a strided 1x1 convolution is evaluated."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows = rows
        self.columns = columns

    def __call__(self, _module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x, *more = inputs
        return x[..., :: self.rows, :: self.columns], *more
