"""A residual network small enough to train on a CPU in minutes.

It has few blocks and no max pooling. ``res2`` to ``res5`` have strides 4 to 32, or 2 to 16 if the
stem has stride 1, for low-resolution input. With a stem of stride 4, ``res2`` starts at stride 8:
then the network at full resolution costs little more than on a 2x or 4x thumbnail.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import fvcore.nn.weight_init as weight_init
import torch.nn.functional as F
from detectron2.layers import CNNBlockBase, Conv2d, get_norm
from detectron2.modeling.backbone.resnet import BasicBlock, ResNet
from jaxtyping import Float
from torch import Tensor


class SmallStem(CNNBlockBase):
    """One 3x3 convolution with normalisation and ReLU.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the output.
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

    def forward(self, x: Float[Tensor, "N _C H W"]) -> Float[Tensor, "N C h w"]:
        """Features of images, at the stem's stride."""
        return F.relu_(self.conv1(x))


class DeepStem(CNNBlockBase):
    """Two 3x3 convolutions of stride 2: it halves the image twice and skips no pixel.

    Args:
        in_channels: channels of the image.
        middle: channels between the two convolutions.
        out_channels: channels of the output.
        norm: name of a normalisation that ``get_norm`` knows.
    """

    def __init__(self, in_channels: int, middle: int, out_channels: int, norm: str) -> None:
        super().__init__(in_channels, out_channels, 4)
        self.first = SmallStem(in_channels, middle, 2, norm)
        self.second = SmallStem(middle, out_channels, 2, norm)

    def forward(self, x: Float[Tensor, "N _C H W"]) -> Float[Tensor, "N C h w"]:
        """Features of images, at a stride of 4."""
        return self.second(self.first(x))


def stages_of(
    block_class: type[CNNBlockBase], channels: Sequence[int], depths: Sequence[int], norm: str
) -> list[list[CNNBlockBase]]:
    """Stages of a small ResNet, each of which starts with a stride of 2.

    Args:
        block_class: of all blocks.
        channels: of the stem's output and of each stage's.
        depths: number of blocks of each stage.
        norm: of each convolution.

    Raises:
        ValueError: ``channels`` and ``depths`` do not fit each other.
    """
    widths = list(pairwise(channels))
    if len(widths) != len(depths):
        raise ValueError(
            f"channels={list(channels)}, depths={list(depths)}: expected channels of the stem "
            "and of each stage, one more than depths"
        )
    return [
        ResNet.make_stage(
            block_class,
            depth,
            in_channels=before,
            out_channels=after,
            stride_per_block=[2] + [1] * (depth - 1),
            norm=norm,
        )
        for (before, after), depth in zip(widths, depths, strict=True)
    ]


class SmallResNet(ResNet):
    """Detectron2's ResNet with few channels, basic blocks and a plain stem.

    Args:
        channels: channels of the stem and of each stage from ``res2`` on.
        depths: number of blocks of each stage.
        stem_stride: 2, 1 for low-resolution input, or 4.
        norm: name of a normalisation that ``get_norm`` knows.
        out_features: names of the stages that ``forward`` returns.
        in_channels: channels of the image.
        stem_middle: channels inside the stem, exactly if its stride is 4.

    Raises:
        ValueError: ``channels`` and ``depths`` do not fit each other, a stage does not change the
            number of channels, or there is no such stem.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 48, 96, 128),
        depths: Sequence[int] = (1, 1, 1, 1),
        stem_stride: int = 2,
        norm: str = "BN",
        out_features: Sequence[str] = ("res2", "res3", "res4", "res5"),
        in_channels: int = 3,
        stem_middle: int | None = None,
    ) -> None:
        if any(before == after for before, after in pairwise(channels)):
            # Detectron2's basic block has a convolution in its shortcut only where channels change,
            # and a block with stride 2 needs one.
            raise ValueError(f"channels={list(channels)}: successive numbers must differ")
        stages = stages_of(BasicBlock, channels, depths, norm)
        if (stem_stride == 4) != (stem_middle is not None) or stem_stride not in (1, 2, 4):
            raise ValueError(
                f"SmallResNet: stem_stride={stem_stride}, stem_middle={stem_middle}: expected a "
                "stride of 1 or 2, or of 4 with stem_middle"
            )
        stem = (
            SmallStem(in_channels, channels[0], stem_stride, norm)
            if stem_middle is None
            else DeepStem(in_channels, stem_middle, channels[0], norm)
        )
        super().__init__(stem, stages, out_features=list(out_features))
