"""The generator of super-resolved region features: "Better to Follow", ICCV 2019, Sec. 4.2, Fig. 5.

Shapes: R regions; (R, C, P, P) pooled from the base layer, which the predictors read, and
(R, S, P, P) pooled from a sub layer, an earlier one that still has the detail.
"""

from __future__ import annotations

import fvcore.nn.weight_init as weight_init
import torch
from torch import Tensor, nn


class SRGenerator(nn.Module):
    """Residual blocks on both layers' features together; the base layer's part comes out.

    Each block's last convolution starts at zero: an untrained generator gives the base features
    themselves, so that a detector with it starts as it is without it.

    Args:
        base_channels: C.
        sub_channels: S.
        num_blocks: B, residual blocks in a row, each of two 3x3 convolutions.
        bottleneck_channels: None for those; a number for narrow blocks, 1x1, 3x3 and 1x1 with so
            many channels between them. At ResNet's res4 the wide blocks alone take longer than
            the detector.

    Raises:
        ValueError: there is no block.
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
        self.base_channels = base_channels
        channels = base_channels + sub_channels
        self.blocks = nn.ModuleList(
            _block(channels, bottleneck_channels) for _ in range(num_blocks)
        )

    def forward(self, base: Tensor, sub: Tensor) -> Tensor:
        """Super-resolve regions.

        Args:
            base: (R, C, P, P).
            sub: (R, S, P, P), of the same regions.

        Returns:
            (R, C, P, P), in place of ``base``.
        """
        features = torch.cat([base, sub], dim=1)
        for block in self.blocks:
            features = features + block(features)
        return features[:, : self.base_channels]


def _block(channels: int, bottleneck: int | None) -> nn.Sequential:
    """What a residual block adds to its input."""
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
