"""Feature pyramid network.

Source: Lin et al., "Feature Pyramid Networks" (2017); P6 and P7 after RetinaNet (2017).
Level p{k} has stride 2**k; `fpn_lateral{k}` and `fpn_output{k}` make it from the bottom-up
feature map of that stride.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from detectron2._uncovered import uncovered
from detectron2.layers import Conv2d, get_norm
from detectron2.modeling.backbone.backbone import Backbone, NamedModules
from fvcore.nn.weight_init import c2_xavier_fill
from torch import nn

__all__ = [
    "FPN",
    "LastLevelMaxPool",
    "LastLevelP6P7",
    "build_resnet_fpn_backbone",
    "build_retinanet_resnet_fpn_backbone",
]


class FPN(Backbone):
    """A pyramid of feature maps of equal width on top of a bottom-up backbone."""

    def __init__(
        self,
        bottom_up: Backbone,
        in_features: Sequence[str],
        out_channels: int,
        norm: Any = "",
        top_block: nn.Module | None = None,
        fuse_type: str = "sum",
        square_pad: int = 0,
    ):
        """
        Args:
            bottom_up: the backbone below.
            in_features: its feature maps to use, finest first; each has twice the stride of the
                one before.
            out_channels: channels of every level.
            norm: name or factory of the normalization; without one, convolutions have a bias.
            top_block: makes coarser levels. Has `num_levels` and `in_feature` (a feature map of the
                bottom-up or of the pyramid), from which it computes a list of feature maps.
            fuse_type: how the top-down and the lateral feature map join, `sum` or `avg`.
            square_pad: pad images to a square of this size; 0 does not.
        """
        super().__init__()
        if not in_features:
            raise ValueError(
                "FPN in_features is empty: name feature maps of the bottom-up backbone"
            )
        if fuse_type not in ("sum", "avg"):
            raise ValueError(f"FPN fuse_type {fuse_type!r}: expected 'sum' or 'avg'")
        shapes = bottom_up.output_shape()
        strides = [shapes[name].stride for name in in_features]
        _assert_strides_are_log2_contiguous(strides)
        # Level k has stride 2**k.
        levels = [stride.bit_length() - 1 for stride in strides]

        for level, name in zip(levels, in_features, strict=True):
            lateral = _projection(shapes[name].channels, out_channels, 1, norm)
            output = _projection(out_channels, out_channels, 3, norm)
            for part, layer in (("lateral", lateral), ("output", output)):
                c2_xavier_fill(layer)
                self.add_module(f"fpn_{part}{level}", layer)
        self._lateral_levels = levels[::-1]
        self.top_block = top_block
        self.in_features = tuple(in_features)
        self.bottom_up = bottom_up

        extra = 0 if top_block is None else top_block.num_levels
        levels = [*levels, *range(levels[-1] + 1, levels[-1] + 1 + extra)]
        self._out_features = [f"p{level}" for level in levels]
        self._out_feature_strides = {f"p{level}": 2**level for level in levels}
        self._out_feature_channels = dict.fromkeys(self._out_features, out_channels)
        self._size_divisibility = strides[-1]
        self._square_pad = square_pad
        self._fuse_type = fuse_type

    @property
    def lateral_convs(self) -> NamedModules:
        """The 1x1 convolutions, coarsest level first; they can be replaced."""
        return NamedModules(self, [f"fpn_lateral{level}" for level in self._lateral_levels])

    @lateral_convs.setter
    def lateral_convs(self, layers: Iterable[nn.Module]) -> None:
        self.lateral_convs[:] = layers

    @property
    def output_convs(self) -> NamedModules:
        """The 3x3 convolutions, coarsest level first; they can be replaced."""
        return NamedModules(self, [f"fpn_output{level}" for level in self._lateral_levels])

    @output_convs.setter
    def output_convs(self, layers: Iterable[nn.Module]) -> None:
        self.output_convs[:] = layers

    def __setattr__(self, name: str, value: Any) -> None:
        # A ModuleList, too, which nn.Module would register beside the property.
        if name in ("lateral_convs", "output_convs"):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def size_divisibility(self) -> int:
        """Stride of the coarsest bottom-up feature map, so that each one doubled fits the next."""
        return self._size_divisibility

    @property
    def padding_constraints(self) -> dict[str, int]:
        """The square that images are padded to, 0 for none."""
        return {"square_size": self._square_pad}

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map images (N, C, H, W) to the levels p{k}, finest first."""
        features = self.bottom_up(x)
        results: list[torch.Tensor] = []
        merged = None
        names = self.in_features[::-1]
        for name, lateral, output in zip(names, self.lateral_convs, self.output_convs, strict=True):
            side = lateral(features[name])
            if merged is None:
                merged = side
            else:
                merged = side + F.interpolate(merged, scale_factor=2.0, mode="nearest")
                if self._fuse_type == "avg":
                    merged /= 2
            results.insert(0, output(merged))
        if self.top_block is not None:
            source = self.top_block.in_feature
            if source in features:
                top = features[source]
            else:
                top = results[self._out_features.index(source)]
            results.extend(self.top_block(top))
        return dict(zip(self._out_features, results, strict=True))


def _assert_strides_are_log2_contiguous(strides: Sequence[int]) -> None:
    """Raise ValueError unless each stride is twice the one before."""
    if any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
        raise ValueError(
            f"FPN in_features have strides {strides}: each must be twice the one before"
        )


def _projection(in_channels: int, out_channels: int, kernel: int, norm: Any) -> Conv2d:
    return Conv2d(
        in_channels,
        out_channels,
        kernel_size=kernel,
        padding=kernel // 2,
        bias=norm == "",
        norm=get_norm(norm, out_channels),
    )


class LastLevelMaxPool(nn.Module):
    """P6 as every second cell of P5, for the RPN of the original FPN."""

    def __init__(self):
        super().__init__()
        self.num_levels = 1
        self.in_feature = "p5"

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map (N, C, H, W) to one feature map (N, C, H / 2, W / 2)."""
        return [F.max_pool2d(x, kernel_size=1, stride=2)]


class LastLevelP6P7(nn.Module):
    """P6 and P7 by two strided convolutions, as in RetinaNet."""

    def __init__(self, in_channels: int, out_channels: int, in_feature: str = "res5"):
        """
        Args:
            in_channels: channels of `in_feature`.
            out_channels: channels of both levels.
            in_feature: the feature map they come from, of the bottom-up (`res5`) or the pyramid
                (`p5`).
        """
        super().__init__()
        self.num_levels = 2
        self.in_feature = in_feature
        self.p6 = nn.Conv2d(in_channels, out_channels, 3, 2, 1)
        self.p7 = nn.Conv2d(out_channels, out_channels, 3, 2, 1)
        for layer in (self.p6, self.p7):
            c2_xavier_fill(layer)

    def forward(self, c5: torch.Tensor) -> list[torch.Tensor]:
        """Map (N, C, H, W) to feature maps of half and a quarter of its size."""
        p6 = self.p6(c5)
        return [p6, self.p7(F.relu(p6))]


build_resnet_fpn_backbone = uncovered("build_resnet_fpn_backbone")
build_retinanet_resnet_fpn_backbone = uncovered("build_retinanet_resnet_fpn_backbone")
