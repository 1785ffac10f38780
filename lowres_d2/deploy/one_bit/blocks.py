"""Packed layers one after the other: bits go on as bits, sums and PReLUs are part of a layer.

Shapes: N images, C channels in, O out.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

from lowres_d2.deploy.one_bit.bits import PackedBits
from lowres_d2.deploy.one_bit.layers import PackedConv2d
from lowres_d2.deploy.one_bit.memory import new_map
from lowres_d2.layers.one_bit import BinaryConv2d
from lowres_d2.modeling.backbone import ShortcutBlock
from lowres_d2.modeling.one_bit.towers import ShortcutTower

import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d
from jaxtyping import Float
from torch import Tensor, nn


class PackedStage(nn.Sequential):
    """``ShortcutBlock``s one after the other, as Detectron2's ResNet has them in a stage."""

    def __init__(self, blocks: Iterable[ShortcutBlock]) -> None:
        """Pack the blocks."""
        super().__init__(*map(PackedBlock, blocks))

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N O h w"]:
        """Features of the last block."""
        bits = self[0].conv1.pack(x)
        for block, following in zip_longest(self, list(self)[1:]):
            x, bits = block.run(x, bits, following.conv1 if following else None)
        return x


class PackedBlock(nn.Module):
    """A ``ShortcutBlock``: what its shortcut carries is real-valued, all else goes on as bits."""

    def __init__(self, block: ShortcutBlock) -> None:
        """Pack the convolutions of a block, which have no activation of their own."""
        super().__init__()
        self.stride, self.shortcut = block.stride, block.shortcut
        self.conv1 = PackedConv2d(block.conv1, activation=block.prelu1)
        self.conv2 = PackedConv2d(block.conv2, activation=block.prelu2)

    def run(
        self, x: Float[Tensor, "N C H W"], bits: PackedBits, then: PackedConv2d | None
    ) -> tuple[Float[Tensor, "N O h w"], PackedBits | None]:
        """Features, and their bits for the next block's first convolution.

        Args:
            x: the input.
            bits: of the input.
            then: the next convolution, if there is one.
        """
        skip = x
        if self.stride > 1:
            skip = F.avg_pool2d(x, self.stride, ceil_mode=True, count_include_pad=False)
        if self.shortcut is not None:
            skip = projected(skip, self.shortcut)
        x, bits = self.conv1.run(bits, skip, self.conv2)
        return self.conv2.run(bits, x, then)


class PackedTower(nn.Sequential):
    """A tower of a dense head: ``PackedConv2d`` one after the other, with or without shortcuts."""

    def __init__(self, layers: Iterable[PackedConv2d], shortcuts: bool) -> None:
        """Take packed layers.

        Args:
            layers: all of them are whole.
            shortcuts: around each layer that keeps the number of channels.
        """
        super().__init__(*layers)
        self.shortcuts = shortcuts

    def forward(self, x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N O out_h out_w"]:
        """Features, of the same size where no layer has a stride."""
        bits = self[0].pack(x)
        for layer, following in zip_longest(self, list(self)[1:]):
            skip = x if self.shortcuts and layer.in_channels == layer.out_channels else None
            x, bits = layer.run(bits, skip, following, numbers=_is_read(self, following))
        return x


@torch.no_grad()
def projected(x: Float[Tensor, "N C h w"], layer: nn.Module) -> Float[Tensor, "N O out_h out_w"]:
    """A 1x1 convolution as the product of matrices that it is where channels are last.

    On a CPU torch takes several times as long for the convolution. Any other layer is called.
    """
    x = x.float()
    if x.device.type != "cpu" or not _is_product(layer):
        return layer(x)
    number, channels, height, width = x.shape
    outputs = layer.out_channels
    cells = x.permute(0, 2, 3, 1).reshape(number * height * width, channels)
    out = new_map(len(cells), outputs)
    torch.mm(cells, layer.weight.flatten(1).T, out=out)
    if layer.bias is not None:
        out += layer.bias
    return out.view(number, height, width, outputs).permute(0, 3, 1, 2)


def _is_product(layer: nn.Module) -> bool:
    """Whether a layer is a 1x1 convolution of all channels with all, and nothing else."""
    return (
        type(layer) is Conv2d
        and layer.norm is layer.activation is None
        and layer.kernel_size == layer.stride == (1, 1)
        and layer.padding == (0, 0)
        and layer.groups == 1
    )


def _is_read(tower: PackedTower, following: PackedConv2d | None) -> bool:
    """Whether somebody wants the numbers in front of a layer: its shortcut, or who comes last."""
    if following is None:
        return True
    return tower.shortcuts and following.in_channels == following.out_channels


def stage_of(module: nn.Module) -> PackedStage | None:
    """A packed stage, if the module is one whose convolutions are 1-bit ones."""
    if type(module) is not nn.Sequential or not len(module):
        return None
    for block in module:
        if type(block) is not ShortcutBlock:
            return None
        # An activation of the convolution's own comes before the sum, a packed one's behind it.
        layers = (block.conv1, block.conv2)
        if not all(type(x) is BinaryConv2d and x.activation is None for x in layers):
            return None
    stage = PackedStage(module)
    whole = all(layer.is_whole for block in stage for layer in (block.conv1, block.conv2))
    return stage if whole else None


def tower_of(module: nn.Module) -> PackedTower | None:
    """A packed tower, if the module is one of 1-bit convolutions, norms and PReLUs."""
    if type(module) not in (nn.Sequential, ShortcutTower):
        return None
    packed: list[PackedConv2d] = []
    behind: list[nn.Module] = []
    for layer in reversed(list(module)):
        if not isinstance(layer, BinaryConv2d):
            behind.insert(0, layer)
            continue
        if len(behind) > 2 or layer.norm is not None or layer.activation is not None:
            return None
        activation = behind.pop() if behind else None
        packed.insert(0, PackedConv2d(layer, behind.pop() if behind else None, activation))
    whole = all(layer.is_whole and layer.slope is not None for layer in packed)
    if behind or not packed or not whole:
        return None
    return PackedTower(packed, isinstance(module, ShortcutTower))
