"""A residual network with a shortcut around each convolution, for 1-bit layers.

Source: Liu et al., "Bi-Real Net" (ECCV 2018), with PReLU (He et al. 2015) as in DFR-Det (Xu et al.,
ICML 2024, Sec. 4.1), which ascribes it to BiDet (Wang et al., CVPR 2020). What a 1-bit convolution
loses, its shortcut carries on. PReLU in place of ReLU, because what has passed a ReLU is never
negative: its sign is always +1.

The network is real-valued; ``lowres_d2.modeling.one_bit.binarized`` makes it a 1-bit one. Names are
those of Detectron2's ResNet with basic blocks, whose weights load, all but the PReLUs' slopes:

    L(ResNet)(
        stem=L(PReLUStem)(...),
        stages=L(ResNet.make_default_stages)(depth=18, block_class=ShortcutBlock, norm="BN"),
    )
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowres_d2.modeling.backbone.small import stages_of

import fvcore.nn.weight_init as weight_init
import torch.nn.functional as F
from detectron2.layers import CNNBlockBase, Conv2d, get_norm
from detectron2.modeling.backbone.resnet import ResNet
from jaxtyping import Float
from torch import Tensor, nn


class ShortcutBlock(CNNBlockBase):
    """Two 3x3 convolutions, each with a norm, a shortcut around it and PReLU behind the sum.

    The shortcut of a block that downsamples is an average pooling, and a 1x1 convolution with norm
    where channels change.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the first convolution.
        norm: name of a normalisation that ``get_norm`` knows.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, norm: Any = "BN"
    ) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = _convolution(in_channels, out_channels, 1, 1, norm)
        self.conv1 = _convolution(in_channels, out_channels, 3, stride, norm)
        self.prelu1 = nn.PReLU(out_channels)
        self.conv2 = _convolution(out_channels, out_channels, 3, 1, norm)
        self.prelu2 = nn.PReLU(out_channels)

    def forward(self, x: Float[Tensor, "N _C H W"]) -> Float[Tensor, "N C h w"]:
        """Features at the block's stride."""
        skip = x
        if self.stride > 1:
            # ceil_mode: an odd last row or column counts, as in the convolution.
            skip = F.avg_pool2d(x, self.stride, ceil_mode=True, count_include_pad=False)
        if self.shortcut is not None:
            skip = self.shortcut(skip)
        x = self.prelu1(self.conv1(x) + skip)
        return self.prelu2(self.conv2(x) + x)


class PReLUStem(CNNBlockBase):
    """A convolution of stride 2 with norm and PReLU, and a 3x3 max pooling of stride 2.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the output.
        norm: name of a normalisation that ``get_norm`` knows.
        kernel_size: of the convolution.
        pooled: without the pooling, the stride is 2, not 4.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 64,
        norm: Any = "BN",
        kernel_size: int = 7,
        pooled: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, 4 if pooled else 2)
        self.in_channels = in_channels
        self.pooled = pooled
        self.conv1 = _convolution(in_channels, out_channels, kernel_size, 2, norm)
        self.prelu = nn.PReLU(out_channels)

    def forward(self, x: Float[Tensor, "N _C H W"]) -> Float[Tensor, "N C h w"]:
        """Features of images, at the stem's stride."""
        x = self.prelu(self.conv1(x))
        return F.max_pool2d(x, kernel_size=3, stride=2, padding=1) if self.pooled else x


class SmallShortcutResNet(ResNet):
    """The network of these blocks that CPUs train in minutes: ``SmallResNet`` with shortcuts.

    ``res2`` to ``res5`` have strides 4 to 32; the stem is a 3x3 convolution without pooling.

    Args:
        channels: channels of the stem and of each stage from ``res2`` on.
        depths: number of blocks of each stage.
        norm: name of a normalisation that ``get_norm`` knows.
        out_features: names of the stages that ``forward`` returns.
        in_channels: channels of the image.

    Raises:
        ValueError: ``channels`` and ``depths`` do not fit each other.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 48, 96, 128),
        depths: Sequence[int] = (1, 1, 1, 1),
        norm: str = "BN",
        out_features: Sequence[str] = ("res2", "res3", "res4", "res5"),
        in_channels: int = 3,
    ) -> None:
        stages = stages_of(ShortcutBlock, channels, depths, norm)
        stem = PReLUStem(in_channels, channels[0], norm, kernel_size=3, pooled=False)
        super().__init__(stem, stages, out_features=list(out_features))


def _convolution(
    in_channels: int, out_channels: int, kernel_size: int, stride: int, norm: Any
) -> Conv2d:
    layer = Conv2d(
        in_channels,
        out_channels,
        kernel_size=kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        bias=False,
        norm=get_norm(norm, out_channels),
    )
    weight_init.c2_msra_fill(layer)
    return layer
