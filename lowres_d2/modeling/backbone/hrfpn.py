"""HRFPN: a pyramid whose levels are all pooled from one feature map of the finest stride.

Source: Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition" (TPAMI
2021), HRNetV2p. With it, detectors on HRNets cost what Ning et al. (VISAPP 2023, Table 6) say.
"""

from __future__ import annotations

from collections.abc import Sequence

import fvcore.nn.weight_init as weight_init
import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d
from detectron2.modeling import Backbone
from jaxtyping import Float
from torch import Tensor, nn


class HRFPN(Backbone):
    """All feature maps upsampled to the finest, joined, reduced by a 1x1 convolution and pooled.

    Each level has a 3x3 convolution of its own. Levels are named for their strides: ``p2`` has 4.

    Args:
        bottom_up: backbone such as an HRNet, each of whose strides is twice the one before.
        in_features: feature maps of it that are joined; their order does not matter.
        out_channels: channels of each level.
        num_levels: number of levels, from the finest stride up; may be more than ``in_features``.

    Raises:
        ValueError: ``in_features`` is empty, or names what ``bottom_up`` does not give.
    """

    def __init__(
        self,
        bottom_up: Backbone,
        in_features: Sequence[str],
        out_channels: int = 256,
        num_levels: int = 5,
    ) -> None:
        super().__init__()
        shapes = bottom_up.output_shape()
        if not in_features or set(in_features) - shapes.keys():
            raise ValueError(
                f"HRFPN: in_features={[*in_features]}: expected some of {', '.join(shapes)}"
            )
        self.bottom_up = bottom_up
        self.in_features = sorted(in_features, key=lambda name: shapes[name].stride)
        self.reduce = Conv2d(
            sum(shapes[name].channels for name in in_features), out_channels, kernel_size=1
        )
        self.outputs = nn.ModuleList(
            Conv2d(out_channels, out_channels, kernel_size=3, padding=1) for _ in range(num_levels)
        )
        for layer in (self.reduce, *self.outputs):
            weight_init.c2_xavier_fill(layer)
        # Level after level, which is pooling by 2, 4, 8, ... of the finest.
        self.pool = nn.AvgPool2d(2, ceil_mode=True)
        strides = [shapes[self.in_features[0]].stride * 2**k for k in range(num_levels)]
        names = [f"p{stride.bit_length() - 1}" for stride in strides]
        self._out_features = names
        self._out_feature_strides = dict(zip(names, strides, strict=True))
        self._out_feature_channels = dict.fromkeys(names, out_channels)
        self._size_divisibility = shapes[self.in_features[-1]].stride

    @property
    def size_divisibility(self) -> int:
        """Sides of images are multiples of it, so that upsampled feature maps lie on the finest."""
        return self._size_divisibility

    def forward(self, x: Float[Tensor, "N C H W"]) -> dict[str, Float[Tensor, "N _C _h _w"]]:
        """Levels by name, finest first."""
        found = self.bottom_up(x)
        finest, *others = (found[name] for name in self.in_features)
        upsampled = [
            F.interpolate(features, finest.shape[-2:], mode="bilinear", align_corners=False)
            for features in others
        ]
        level = self.reduce(torch.cat([finest, *upsampled], dim=1))
        levels = {}
        for name, output in zip(self._out_features, self.outputs, strict=True):
            if levels:
                level = self.pool(level)
            levels[name] = output(level)
        return levels
