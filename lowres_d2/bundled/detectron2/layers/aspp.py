"""Atrous spatial pyramid pooling (Chen et al., arXiv 1706.05587). Features are (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from fvcore.nn import weight_init
from torch import Tensor, nn
from torch.nn import functional as F

from .batch_norm import get_norm
from .blocks import DepthwiseSeparableConv2d
from .wrappers import Conv2d


class ASPP(nn.Module):
    """Convolutions of several dilations and a pooled branch, concatenated and projected."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dilations: list[int],
        *,
        norm: str | Callable[[int], nn.Module],
        activation: Callable[[Tensor], Tensor],
        pool_kernel_size: tuple[int, int] | None = None,
        dropout: float = 0.0,
        use_depthwise_separable_conv: bool = False,
    ):
        """Build the five branches and the projection.

        Args:
            in_channels: channels of the input.
            out_channels: channels of each branch and of the output.
            dilations: of the three 3x3 branches.
            norm: see `get_norm`.
            activation: each branch gets its own copy.
            pool_kernel_size: (height, width) of the average pooling, at stride 1; must divide the
                input's size. None pools the whole feature map.
            dropout: probability, after the projection.
            use_depthwise_separable_conv: make the 3x3 convolutions depthwise separable.
        """
        super().__init__()
        if len(dilations) != 3:
            raise ValueError(f"ASPP: expected 3 dilations, got {dilations}")
        self.pool_kernel_size = pool_kernel_size
        self.dropout = dropout
        settings = {"norm": norm, "activation": activation}

        def atrous(dilation: int) -> nn.Module:
            if not use_depthwise_separable_conv:
                return _convolution(in_channels, out_channels, 3, dilation, **settings)
            return DepthwiseSeparableConv2d(
                in_channels,
                out_channels,
                kernel_size=3,
                padding=dilation,
                dilation=dilation,
                norm1=norm,
                activation1=deepcopy(activation),
                norm2=norm,
                activation2=deepcopy(activation),
            )

        # Made in the order of the branches, so that a seed gives the weights it gives upstream.
        branches = [_convolution(in_channels, out_channels, **settings), *map(atrous, dilations)]
        pooled = nn.Sequential(
            nn.AdaptiveAvgPool2d(1)
            if pool_kernel_size is None
            else nn.AvgPool2d(kernel_size=pool_kernel_size, stride=1),
            # Few values a channel: batch statistics of them mean little, so no norm.
            _convolution(in_channels, out_channels, norm="", activation=activation),
        )
        self.convs = nn.ModuleList([*branches, pooled])
        self.project = _convolution(len(self.convs) * out_channels, out_channels, **settings)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        size = x.shape[-2:]
        kernel = self.pool_kernel_size
        if kernel is not None and (size[0] % kernel[0] or size[1] % kernel[1]):
            raise ValueError(f"ASPP: pool_kernel_size {kernel} does not divide {tuple(size)}")
        features = [branch(x) for branch in self.convs]
        features[-1] = F.interpolate(features[-1], size=size, mode="bilinear", align_corners=False)
        projected = self.project(torch.cat(features, dim=1))
        return F.dropout(projected, self.dropout, self.training) if self.dropout > 0 else projected


def _convolution(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 1,
    dilation: int = 1,
    *,
    norm: str | Callable[[int], nn.Module],
    activation: Callable[[Tensor], Tensor],
) -> Conv2d:
    conv = Conv2d(
        in_channels,
        out_channels,
        kernel_size=kernel_size,
        padding=dilation * (kernel_size // 2),
        dilation=dilation,
        bias=not norm,
        norm=get_norm(norm, out_channels),
        activation=deepcopy(activation),
    )
    weight_init.c2_xavier_fill(conv)
    return conv
