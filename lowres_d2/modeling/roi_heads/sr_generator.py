"""The generator of super-resolved region features: "Better to Follow", ICCV 2019, Sec. 4.2, Fig. 5.

Base features are pooled from the base layer, which the predictors read; sub features are pooled
from the sub layer, an earlier one that still has the detail.
"""

from __future__ import annotations

import fvcore.nn.weight_init as weight_init
import torch
from jaxtyping import Float
from torch import Tensor, nn


class SRGenerator(nn.Module):
    """Residual blocks on the concatenated base and sub features; returns the base channels.

    Each block's last convolution starts at zero, so an untrained generator returns the base
    features unchanged, and a detector starts with the outputs that it has without a generator.

    Args:
        base_channels: channels of the base features.
        sub_channels: channels of the sub features.
        num_blocks: number B of residual blocks.
        bottleneck_channels: None: each block has two 3x3 convolutions on all channels. A number:
            each block is a bottleneck (1x1, 3x3, 1x1) with so many inner channels. At ResNet's
            res4 the wide blocks alone take longer than the detector without a generator.

    Raises:
        ValueError: a number of blocks or channels is under 1.
    """

    def __init__(
        self,
        base_channels: int,
        sub_channels: int,
        num_blocks: int = 2,
        bottleneck_channels: int | None = None,
    ) -> None:
        super().__init__()
        if num_blocks < 1:
            raise ValueError(f"num_blocks={num_blocks}: the generator needs at least one block")
        widths = {"base_channels": base_channels, "sub_channels": sub_channels}
        if bottleneck_channels is not None:
            widths["bottleneck_channels"] = bottleneck_channels
        for key, value in widths.items():
            if value < 1:
                raise ValueError(f"{key}={value}: expected 1 or more")
        self.base_channels = base_channels
        channels = base_channels + sub_channels
        self.blocks = nn.ModuleList(
            _block(channels, bottleneck_channels) for _ in range(num_blocks)
        )

    def forward(
        self, base: Float[Tensor, "R C P P"], sub: Float[Tensor, "R sub P P"]
    ) -> Float[Tensor, "R C P P"]:
        """Super-resolved features, which take the place of ``base``; ``sub``: the same regions.

        Raises:
            ValueError: ``base`` has another number of channels than the base layer.
        """
        # With as many channels in all the blocks would run, on channels of the other layer.
        if base.shape[1] != self.base_channels:
            raise ValueError(
                f"base features have {base.shape[1]} channels, expected {self.base_channels}: set "
                "base_channels to those of the feature map that regions are pooled from"
            )
        features = torch.cat([base, sub], dim=1)
        for block in self.blocks:
            # Not in place: the block's first convolution needs its input in the backward pass.
            features = features + block(features)
        # Fig. 5: only the base part is kept.
        return features[:, : self.base_channels]


def _block(channels: int, bottleneck: int | None) -> nn.Sequential:
    """The residual branch of a block."""
    if bottleneck is None:
        layers = [
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        ]
    else:
        layers = [
            nn.Conv2d(channels, bottleneck, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(bottleneck, bottleneck, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(bottleneck, channels, 1),
        ]
    for layer in layers[:-1]:
        if isinstance(layer, nn.Conv2d):
            weight_init.c2_msra_fill(layer)
    nn.init.zeros_(layers[-1].weight)
    nn.init.zeros_(layers[-1].bias)
    return nn.Sequential(*layers)
