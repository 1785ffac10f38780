"""Deformable convolution, v1 (arXiv 1703.06211) and v2 (1811.11168), on torchvision's operator.

Shapes: input (N, C, H, W); output H' x W'; K = kernel height x width; G deformable groups.
offset (N, 2 G K, H', W') holds (dy, dx) in cells for each kernel position; mask (N, G K, H', W').
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair
from torchvision.ops import deform_conv2d

Size = int | tuple[int, int]


class _DeformableConvolution(nn.Module):
    """What both versions share: weights, call of the operator, norm and activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        groups: int,
        deformable_groups: int,
        norm: nn.Module | None,
        activation: Callable[[Tensor], Tensor] | None,
    ):
        super().__init__()
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{name}={channels} is not a multiple of groups={groups}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _pair(kernel_size)
        self.groups = groups
        self.deformable_groups = deformable_groups
        self.norm = norm
        self.activation = activation
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def _apply_kernel(self, x: Tensor, offset: Tensor, mask: Tensor | None) -> Tensor:
        # The operator guesses the number of groups from the channels and would take any multiple.
        positions = self.deformable_groups * self.kernel_size[0] * self.kernel_size[1]
        if offset.shape[1] != 2 * positions or (mask is not None and mask.shape[1] != positions):
            raise RuntimeError(
                f"deformable convolution: expected {2 * positions} offset and {positions} mask "
                f"channels, got {offset.shape[1]} and {None if mask is None else mask.shape[1]}"
            )
        x = deform_conv2d(
            x,
            offset,
            self.weight,
            self.bias,
            stride=_pair(self.stride),
            padding=_pair(self.padding),
            dilation=_pair(self.dilation),
            mask=mask,
        )
        if self.norm is not None:
            x = self.norm(x)
        return x if self.activation is None else self.activation(x)

    def extra_repr(self) -> str:
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation")
        values = [f"{name}={getattr(self, name)}" for name in names]
        values += [f"groups={self.groups}", f"deformable_groups={self.deformable_groups}"]
        return ", ".join([*values, f"bias={self.bias is not None}"])


class DeformConv(_DeformableConvolution):
    """Convolution that samples at learned offsets."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        bias: bool = False,
        norm: nn.Module | None = None,
        activation: Callable[[Tensor], Tensor] | None = None,
    ):
        """Build; arguments as `torch.nn.Conv2d` unless listed.

        Args:
            in_channels: channels of the input.
            out_channels: channels of the output.
            kernel_size: kernel height and width.
            stride: stride.
            padding: zero padding.
            dilation: dilation.
            groups: groups of the convolution.
            deformable_groups: groups of input channels with offsets of their own.
            bias: must be False.
            norm: applied to the output.
            activation: applied after the norm.
        """
        if bias:
            raise ValueError("DeformConv has no bias: pass bias=False")
        super().__init__(
            in_channels, out_channels, kernel_size, groups, deformable_groups, norm, activation
        )
        self.stride = _pair(stride)
        self.padding = _pair(padding)
        self.dilation = _pair(dilation)
        self.bias = None

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """Convolve `x` (N, C, H, W) at `offset`."""
        return self._apply_kernel(x, offset, None)


class ModulatedDeformConv(_DeformableConvolution):
    """`DeformConv` whose samples are also weighted, by a mask."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        bias: bool = True,
        norm: nn.Module | None = None,
        activation: Callable[[Tensor], Tensor] | None = None,
    ):
        """Build; arguments of `DeformConv`, where `bias` may be True."""
        super().__init__(
            in_channels, out_channels, kernel_size, groups, deformable_groups, norm, activation
        )
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """Convolve `x` (N, C, H, W) at `offset`, samples weighted by `mask`."""
        return self._apply_kernel(x, offset, mask)
