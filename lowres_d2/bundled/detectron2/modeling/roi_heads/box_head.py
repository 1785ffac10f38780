"""The layers between pooled regions and their classifier.

Shapes: R regions, C channels, H x W pooled cells.
"""

from __future__ import annotations

import math

import fvcore.nn.weight_init as weight_init
import torch
from detectron2._uncovered import uncovered
from detectron2.layers import Conv2d, ShapeSpec, get_norm
from detectron2.utils.registry import Registry
from torch import Tensor, nn

ROI_BOX_HEAD_REGISTRY = Registry("ROI_BOX_HEAD")
build_box_head = uncovered("build_box_head")  # builds from yacs configs


@ROI_BOX_HEAD_REGISTRY.register()
class FastRCNNConvFCHead(nn.Sequential):
    """3x3 convolutions, then fully connected layers, each with a ReLU.

    Args:
        input_shape: channels, height and width of a pooled region.
        conv_dims: output channels of each convolution; may be empty.
        fc_dims: output features of each fully connected layer; may be empty.
        conv_norm: normalization behind each convolution, as `get_norm` takes it.

    Attributes:
        conv_norm_relus: the convolutions with norm and ReLU.
        fcs: the fully connected layers.
    """

    from_config = uncovered("FastRCNNConvFCHead.from_config")

    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        conv_dims: list[int],
        fc_dims: list[int],
        conv_norm: str = "",
    ) -> None:
        super().__init__()
        if not conv_dims and not fc_dims:
            raise ValueError("conv_dims and fc_dims are both empty: the head needs a layer")
        channels, height, width = input_shape.channels, input_shape.height, input_shape.width
        self.conv_norm_relus: list[nn.Module] = []
        for number, out_channels in enumerate(conv_dims, start=1):
            conv = Conv2d(
                channels,
                out_channels,
                kernel_size=3,
                padding=1,
                bias=not conv_norm,
                norm=get_norm(conv_norm, out_channels),
                activation=nn.ReLU(),
            )
            self.add_module(f"conv{number}", conv)
            self.conv_norm_relus.append(conv)
            channels = out_channels
        self._output_size: tuple[int, ...] = (channels, height, width)
        self.fcs: list[nn.Module] = []
        for number, out_features in enumerate(fc_dims, start=1):
            if number == 1:
                self.add_module("flatten", nn.Flatten())
            fc = nn.Linear(math.prod(self._output_size), out_features)
            self.add_module(f"fc{number}", fc)
            self.fcs.append(fc)
            self.add_module(f"fc_relu{number}", nn.ReLU())
            self._output_size = (out_features,)

        # Once all layers stand, so that a seed gives the weights that it gives upstream.
        for conv in self.conv_norm_relus:
            weight_init.c2_msra_fill(conv)
        for fc in self.fcs:
            weight_init.c2_xavier_fill(fc)

    def forward(self, x: Tensor) -> Tensor:
        """From (R, C, H, W) to (R, features), or (R, channels, H, W) without fc layers."""
        for layer in self:
            x = layer(x)
        return x

    @property
    @torch.jit.unused
    def output_shape(self) -> ShapeSpec:
        """Channels (and, without fc layers, height and width) of the output."""
        return ShapeSpec(*self._output_size)
