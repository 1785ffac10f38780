"""A residual network small enough to train on a CPU in minutes.

One basic block a stage, no max-pooling: (N, 3, H, W) gives ``res2`` to ``res5`` at strides 4 to 32,
or 2 to 16 where the stem keeps the resolution, as suits low-resolution input.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import fvcore.nn.weight_init as weight_init
import torch.nn.functional as F
from detectron2.layers import CNNBlockBase, Conv2d, get_norm
from detectron2.modeling.backbone.resnet import BasicBlock, ResNet
from torch import Tensor


class SmallStem(CNNBlockBase):
    """One 3x3 convolution with normalisation and ReLU.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the features.
        stride: 2, or 1 to keep the resolution.
        norm: name of a normalisation that ``get_norm`` knows.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: str) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.conv1 = Conv2d(
            in_channels,
            out_channels,
            kernel_size=3,
            stride=stride,
            padding=1,
            bias=False,
            norm=get_norm(norm, out_channels),
        )
        weight_init.c2_msra_fill(self.conv1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        return F.relu_(self.conv1(x))


class SmallResNet(ResNet):
    """Detectron2's ResNet with few channels, basic blocks and a plain stem.

    Args:
        channels: of the stem and of ``res2`` to ``res5``.
        depths: blocks in each of ``res2`` to ``res5``.
        stem_stride: 2, or 1 for low-resolution input.
        norm: name of a normalisation that ``get_norm`` knows.
        out_features: which stages ``forward`` returns.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 48, 96, 128),
        depths: Sequence[int] = (1, 1, 1, 1),
        stem_stride: int = 2,
        norm: str = "BN",
        out_features: Sequence[str] = ("res2", "res3", "res4", "res5"),
    ) -> None:
        steps = list(pairwise(channels))
        if len(steps) != len(depths):
            raise ValueError(
                f"channels={list(channels)} and depths={list(depths)}: expected one channel count "
                "more than stages"
            )
        if any(before == after for before, after in steps):
            # Detectron2's basic block has a convolution in its shortcut only where channels change.
            raise ValueError(f"channels={list(channels)}: neighbouring counts have to differ")
        stages = [
            ResNet.make_stage(
                BasicBlock,
                depth,
                in_channels=before,
                out_channels=after,
                stride_per_block=[2] + [1] * (depth - 1),
                norm=norm,
            )
            for (before, after), depth in zip(steps, depths, strict=True)
        ]
        stem = SmallStem(3, channels[0], stem_stride, norm)
        super().__init__(stem, stages, out_features=list(out_features))
