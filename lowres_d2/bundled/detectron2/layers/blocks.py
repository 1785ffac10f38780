"""Building blocks of convolutional backbones. Features are (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fvcore.nn import weight_init
from torch import Tensor, nn

from .batch_norm import FrozenBatchNorm2d, get_norm
from .wrappers import Conv2d


class CNNBlockBase(nn.Module):
    """A block that knows its shapes and can be frozen.

    Attributes:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: cells of the input per cell of the output.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride

    def freeze(self) -> CNNBlockBase:
        """Stop training of the block: no gradients, batch norms become `FrozenBatchNorm2d`."""
        self.requires_grad_(False)
        FrozenBatchNorm2d.convert_frozen_batchnorm(self)
        return self


class DepthwiseSeparableConv2d(nn.Module):
    """A convolution a channel, then a 1x1 convolution across channels (arXiv 1610.02357)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        padding: int = 1,
        dilation: int = 1,
        *,
        norm1: str | Callable[[int], nn.Module] | None = None,
        activation1: Callable[[Tensor], Tensor] | None = None,
        norm2: str | Callable[[int], nn.Module] | None = None,
        activation2: Callable[[Tensor], Tensor] | None = None,
    ):
        """Build both convolutions.

        Args:
            in_channels: channels of the input.
            out_channels: channels of the output.
            kernel_size: of the first convolution.
            padding: of the first convolution.
            dilation: of the first convolution.
            norm1: after the first convolution; see `get_norm`.
            activation1: after `norm1`.
            norm2: after the second convolution.
            activation2: after `norm2`.
        """
        super().__init__()
        self.depthwise = _convolution(
            in_channels,
            in_channels,
            norm1,
            activation1,
            kernel_size=kernel_size,
            padding=padding,
            dilation=dilation,
            groups=in_channels,
        )
        self.pointwise = _convolution(in_channels, out_channels, norm2, activation2, kernel_size=1)
        # Once both stand, so that a seed gives the weights that it gives upstream.
        for conv in (self.depthwise, self.pointwise):
            weight_init.c2_msra_fill(conv)

    def forward(self, x: Tensor) -> Tensor:
        """Apply both convolutions."""
        return self.pointwise(self.depthwise(x))


def _convolution(
    in_channels: int, out_channels: int, norm: Any, activation: Any, **kwargs: Any
) -> Conv2d:
    return Conv2d(
        in_channels,
        out_channels,
        bias=not norm,
        norm=get_norm(norm, out_channels),
        activation=activation,
        **kwargs,
    )
