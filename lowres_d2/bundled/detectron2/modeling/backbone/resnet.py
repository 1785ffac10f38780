"""Residual networks: stem, three kinds of block, and the four stages res2 to res5.

Source: He et al., "Deep Residual Learning" (2015); deformable blocks after Dai et al. (2017) and
Zhu et al. (2018). Parameter names are those of Detectron2's model zoo.
Shapes: images (N, 3, H, W); `res{k}` has stride 2**k. All convolutions pad by half their kernel,
so cell j of a feature map is at stride * j + 0.5 in pixels, origin at the top-left corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from detectron2._uncovered import uncovered
from detectron2.layers import (
    CNNBlockBase,
    Conv2d,
    DeformConv,
    ModulatedDeformConv,
    ShapeSpec,
    get_norm,
)
from detectron2.modeling.backbone.backbone import Backbone, NamedModules
from fvcore.nn.weight_init import c2_msra_fill
from torch import nn

__all__ = [
    "BasicBlock",
    "BasicStem",
    "BottleneckBlock",
    "DeformBottleneckBlock",
    "ResNet",
    "ResNetBlockBase",
    "build_resnet_backbone",
    "make_stage",
]

ResNetBlockBase = CNNBlockBase

BLOCKS_PER_STAGE = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def _conv(
    in_channels: int, out_channels: int, kernel: int, norm: Any, *, dilation: int = 1, **kwargs: Any
) -> Conv2d:
    """Bias-free convolution with its norm that keeps the size up to its stride."""
    layer = Conv2d(
        in_channels,
        out_channels,
        kernel_size=kernel,
        padding=kernel // 2 * dilation,
        dilation=dilation,
        bias=False,
        norm=get_norm(norm, out_channels),
        **kwargs,
    )
    return layer


def _shortcut(in_channels: int, out_channels: int, stride: int, norm: Any) -> Conv2d | None:
    """Projection for the skip path, where block input and output differ in channels."""
    if in_channels == out_channels:
        return None
    return _conv(in_channels, out_channels, 1, norm, stride=stride)


def _fill(*layers: nn.Module | None) -> None:
    for layer in layers:
        if layer is not None:
            c2_msra_fill(layer)


class BasicBlock(CNNBlockBase):
    """Two 3x3 convolutions and a skip path: the block of ResNet-18 and -34."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, norm: Any = "BN"):
        """
        Args:
            in_channels: channels of the input.
            out_channels: channels of the output.
            stride: stride of the first convolution.
            norm: name or factory of the normalization, see `get_norm`.
        """
        super().__init__(in_channels, out_channels, stride)
        self.shortcut = _shortcut(in_channels, out_channels, stride, norm)
        self.conv1 = _conv(in_channels, out_channels, 3, norm, stride=stride)
        self.conv2 = _conv(out_channels, out_channels, 3, norm)
        _fill(self.conv1, self.conv2, self.shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        skip = x if self.shortcut is None else self.shortcut(x)
        out = self.conv2(F.relu_(self.conv1(x)))
        out += skip
        return F.relu_(out)


class BottleneckBlock(CNNBlockBase):
    """1x1, 3x3 and 1x1 convolutions and a skip path: the block of ResNet-50 and deeper."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bottleneck_channels: int,
        stride: int = 1,
        num_groups: int = 1,
        norm: Any = "BN",
        stride_in_1x1: bool = False,
        dilation: int = 1,
    ):
        """
        Args:
            in_channels: channels of the input.
            out_channels: channels of the output.
            bottleneck_channels: channels of the 3x3 convolution.
            stride: stride of the block.
            num_groups: groups of the 3x3 convolution.
            norm: name or factory of the normalization, see `get_norm`.
            stride_in_1x1: whether the first 1x1 carries the stride (as in MSRA's original
                weights) rather than the 3x3 (as in torchvision's).
            dilation: dilation of the 3x3 convolution.
        """
        super().__init__(in_channels, out_channels, stride)
        stride_1x1, stride_3x3 = (stride, 1) if stride_in_1x1 else (1, stride)
        self.shortcut = _shortcut(in_channels, out_channels, stride, norm)
        self.conv1 = _conv(in_channels, bottleneck_channels, 1, norm, stride=stride_1x1)
        self.conv2 = _conv(
            bottleneck_channels,
            bottleneck_channels,
            3,
            norm,
            stride=stride_3x3,
            groups=num_groups,
            dilation=dilation,
        )
        self.conv3 = _conv(bottleneck_channels, out_channels, 1, norm)
        _fill(self.conv1, self.conv2, self.conv3, self.shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        skip = x if self.shortcut is None else self.shortcut(x)
        out = F.relu_(self.conv1(x))
        out = self.conv3(F.relu_(self.conv2(out)))
        out += skip
        return F.relu_(out)


class DeformBottleneckBlock(CNNBlockBase):
    """A bottleneck block whose 3x3 convolution samples at learned offsets."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bottleneck_channels: int,
        stride: int = 1,
        num_groups: int = 1,
        norm: Any = "BN",
        stride_in_1x1: bool = False,
        dilation: int = 1,
        deform_modulated: bool = False,
        deform_num_groups: int = 1,
    ):
        """
        Args:
            in_channels: channels of the input.
            out_channels: channels of the output.
            bottleneck_channels: channels of the 3x3 convolution.
            stride: stride of the block.
            num_groups: groups of the 3x3 convolution.
            norm: name or factory of the normalization, see `get_norm`.
            stride_in_1x1: whether the first 1x1 carries the stride rather than the 3x3.
            dilation: dilation of the 3x3 convolution.
            deform_modulated: also learn a weight in [0, 1] for each sample (version 2).
            deform_num_groups: groups of channels with offsets of their own.
        """
        super().__init__(in_channels, out_channels, stride)
        self.deform_modulated = deform_modulated
        stride_1x1, stride_3x3 = (stride, 1) if stride_in_1x1 else (1, stride)
        self.shortcut = _shortcut(in_channels, out_channels, stride, norm)
        self.conv1 = _conv(in_channels, bottleneck_channels, 1, norm, stride=stride_1x1)
        place = {"stride": stride_3x3, "padding": dilation, "dilation": dilation}
        # Each of the 9 samples has an offset (y, x) and, modulated, a weight.
        per_sample = 3 if deform_modulated else 2
        self.conv2_offset = Conv2d(
            bottleneck_channels, 9 * per_sample * deform_num_groups, kernel_size=3, **place
        )
        convolution = ModulatedDeformConv if deform_modulated else DeformConv
        self.conv2 = convolution(
            bottleneck_channels,
            bottleneck_channels,
            kernel_size=3,
            bias=False,
            groups=num_groups,
            deformable_groups=deform_num_groups,
            norm=get_norm(norm, bottleneck_channels),
            **place,
        )
        self.conv3 = _conv(bottleneck_channels, out_channels, 1, norm)
        _fill(self.conv1, self.conv2, self.conv3, self.shortcut)
        # Zero offsets: training starts from an ordinary convolution.
        nn.init.zeros_(self.conv2_offset.weight)
        nn.init.zeros_(self.conv2_offset.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        skip = x if self.shortcut is None else self.shortcut(x)
        out = F.relu_(self.conv1(x))
        offset = self.conv2_offset(out)
        if self.deform_modulated:
            samples = offset.shape[1] // 3
            out = self.conv2(out, offset[:, : 2 * samples], offset[:, 2 * samples :].sigmoid())
        else:
            out = self.conv2(out, offset)
        out = self.conv3(F.relu_(out))
        out += skip
        return F.relu_(out)


class BasicStem(CNNBlockBase):
    """A 7x7 convolution and a 3x3 max-pooling, each of stride 2."""

    def __init__(self, in_channels: int = 3, out_channels: int = 64, norm: Any = "BN"):
        """
        Args:
            in_channels: channels of the images.
            out_channels: channels of the output.
            norm: name or factory of the normalization, see `get_norm`.
        """
        super().__init__(in_channels, out_channels, 4)
        self.in_channels = in_channels
        self.conv1 = _conv(in_channels, out_channels, 7, norm, stride=2)
        _fill(self.conv1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / 4, W / 4)."""
        return F.max_pool2d(F.relu_(self.conv1(x)), kernel_size=3, stride=2, padding=1)


class ResNet(Backbone):
    """A stem and stages `res2`, `res3`, ... of residual blocks; optionally a classifier on top."""

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[Sequence[CNNBlockBase]],
        num_classes: int | None = None,
        out_features: Sequence[str] | None = None,
        freeze_at: int = 0,
    ):
        """
        Args:
            stem: first layers; has a `stride` and `out_channels`.
            stages: the blocks of each stage.
            num_classes: add average pooling and a linear layer of this many outputs, `linear`.
            out_features: what `forward` returns, of `stem`, `res2`, ..., `linear`; by default the
                last. Stages beyond the last one asked for are not built in.
            freeze_at: freeze the stem (1), the first stage as well (2), and so on; 0 freezes none.
        """
        super().__init__()
        self.stem = stem
        self.num_classes = num_classes
        self._out_feature_strides = {"stem": stem.stride}
        self._out_feature_channels = {"stem": stem.out_channels}
        if out_features is not None and "linear" not in out_features:
            # A stage that no output needs would train nothing and upset DDP.
            deepest = max((int(f[3:]) for f in out_features if f[3:].isdigit()), default=1)
            stages = stages[: deepest - 1]

        name, stride, channels = "stem", stem.stride, stem.out_channels
        self.stage_names = tuple(f"res{k}" for k in range(2, 2 + len(stages)))
        for name, blocks in zip(self.stage_names, stages, strict=True):
            _check_stage(name, blocks)
            for block in blocks:
                stride *= block.stride
            channels = blocks[-1].out_channels
            self.add_module(name, nn.Sequential(*blocks))
            self._out_feature_strides[name] = stride
            self._out_feature_channels[name] = channels

        if num_classes is not None:
            name = "linear"
            self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
            self.linear = nn.Linear(channels, num_classes)
            # Goyal et al. (2017), 5.1: the classifier starts from a normal of deviation 0.01.
            nn.init.normal_(self.linear.weight, std=0.01)

        self._out_features = [name] if out_features is None else list(out_features)
        known = [child for child, _ in self.named_children()]
        for feature in self._out_features:
            if feature not in known:
                raise ValueError(
                    f"ResNet out_features: {feature!r} is not one of {', '.join(known)}"
                )
        self.freeze(freeze_at)

    @property
    def stages(self) -> NamedModules:
        """The stages, in order; they can be replaced, and the last ones left out."""
        return NamedModules(self, self.stage_names)

    @stages.setter
    def stages(self, stages: Sequence[nn.Module]) -> None:
        self.stage_names = self.stage_names[: len(stages)]
        self.stages[:] = stages

    def __setattr__(self, name: str, value: Any) -> None:
        # A ModuleList, too, which nn.Module would register beside the property.
        if name == "stages":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map images (N, C, H, W) to the feature maps named in `out_features`."""
        if x.dim() != 4:
            raise ValueError(f"ResNet takes images (N, C, H, W), got shape {tuple(x.shape)}")
        outputs = {}
        x = self.stem(x)
        if "stem" in self._out_features:
            outputs["stem"] = x
        for name, stage in zip(self.stage_names, self.stages, strict=True):
            x = stage(x)
            if name in self._out_features:
                outputs[name] = x
        if self.num_classes is not None and "linear" in self._out_features:
            outputs["linear"] = self.linear(torch.flatten(self.avgpool(x), 1))
        return outputs

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each output; `linear` has none."""
        return {
            name: ShapeSpec(
                channels=self._out_feature_channels.get(name),
                stride=self._out_feature_strides.get(name),
            )
            for name in self._out_features
        }

    def freeze(self, freeze_at: int = 0) -> ResNet:
        """Freeze the first stages for good: no gradients, batch norms become `FrozenBatchNorm2d`.

        Args:
            freeze_at: 1 is the stem, 2 the stem and `res2`, and so on; 0 freezes none.

        Returns:
            This network.
        """
        if freeze_at >= 1:
            self.stem.freeze()
        for stage in self.stages[: max(freeze_at - 1, 0)]:
            for block in stage.children():
                block.freeze()
        return self

    @staticmethod
    def make_stage(
        block_class: type[CNNBlockBase],
        num_blocks: int,
        *,
        in_channels: int,
        out_channels: int,
        **kwargs: Any,
    ) -> list[CNNBlockBase]:
        """Make the blocks of one stage.

        Args:
            block_class: a subclass of `CNNBlockBase`.
            num_blocks: how many.
            in_channels: channels that enter the first block.
            out_channels: channels of every block's output.
            kwargs: arguments for the blocks. One named `<argument>_per_block` is a list that
                gives each block its own, as in `stride_per_block=[2, 1, 1]`.
        """
        shared, each = {}, {}
        for key, value in kwargs.items():
            argument = key.removesuffix("_per_block")
            if argument == key:
                shared[key] = value
            elif argument in kwargs or len(value) != num_blocks:
                raise ValueError(
                    f"{key}: give {num_blocks} values, one per block, and not {argument} as well"
                )
            else:
                each[argument] = value
        widths = [in_channels] + [out_channels] * num_blocks
        return [
            block_class(
                in_channels=before,
                out_channels=after,
                **shared,
                **{argument: values[index] for argument, values in each.items()},
            )
            for index, (before, after) in enumerate(pairwise(widths))
        ]

    @staticmethod
    def make_default_stages(
        depth: int, block_class: type[CNNBlockBase] | None = None, **kwargs: Any
    ) -> list[list[CNNBlockBase]]:
        """Make the four stages of a standard ResNet.

        Args:
            depth: 18, 34, 50, 101 or 152.
            block_class: by default `BasicBlock` below depth 50, else `BottleneckBlock`.
            kwargs: further arguments for `make_stage`; not stride and channels.
        """
        if depth not in BLOCKS_PER_STAGE:
            raise ValueError(f"ResNet depth {depth}: expected one of {[*BLOCKS_PER_STAGE]}")
        basic = depth < 50
        if block_class is None:
            block_class = BasicBlock if basic else BottleneckBlock
        widths = (64, 64, 128, 256, 512) if basic else (64, 256, 512, 1024, 2048)
        stages = []
        for index, num_blocks in enumerate(BLOCKS_PER_STAGE[depth]):
            out_channels = widths[index + 1]
            if not basic:
                kwargs["bottleneck_channels"] = out_channels // 4
            stages.append(
                ResNet.make_stage(
                    block_class,
                    num_blocks,
                    stride_per_block=[1 if index == 0 else 2] + [1] * (num_blocks - 1),
                    in_channels=widths[index],
                    out_channels=out_channels,
                    **kwargs,
                )
            )
        return stages


def _check_stage(name: str, blocks: Sequence[CNNBlockBase]) -> None:
    if not blocks:
        raise ValueError(f"ResNet stage {name} has no blocks")
    for block in blocks:
        if not isinstance(block, CNNBlockBase):
            raise ValueError(f"ResNet stage {name}: {type(block).__name__} is not a CNNBlockBase")


def make_stage(*args: Any, **kwargs: Any) -> list[CNNBlockBase]:
    """`ResNet.make_stage` under its older name."""
    return ResNet.make_stage(*args, **kwargs)


build_resnet_backbone = uncovered("build_resnet_backbone")
