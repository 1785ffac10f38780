"""What every backbone promises: named feature maps with known channels and strides."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from detectron2.layers import ShapeSpec
from torch import nn


class Backbone(nn.Module, ABC):
    """A network from images (N, C, H, W) to named feature maps.

    Subclasses implement `forward` and set `_out_features`, `_out_feature_channels` and
    `_out_feature_strides`, or override `output_shape`.
    """

    @abstractmethod
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map a batch of images to feature maps by name."""

    @property
    def size_divisibility(self) -> int:
        """Height and width of the input must be a multiple of this; 0 means any size."""
        return 0

    @property
    def padding_constraints(self) -> dict[str, int]:
        """Finer padding rules for `ImageList.from_tensors`: `size_divisibility`, `square_size`."""
        return {}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each feature map that `forward` returns."""
        return {
            name: ShapeSpec(
                channels=self._out_feature_channels[name], stride=self._out_feature_strides[name]
            )
            for name in self._out_features
        }
