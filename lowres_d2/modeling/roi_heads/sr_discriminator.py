"""The discriminator of super-resolved region features: "Better to Follow", ICCV 2019, Eq. 5 and 6.

Logits are above 0 for regions that it takes for targets; the losses are in
``lowres_d2.modeling.super_resolution.adversarial``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class SRDiscriminator(nn.Module):
    """A three-layer perceptron that tells target features from super-resolved ones.

    The paper does not say how a region's cells enter it. Here they are averaged, over the whole
    region or over each part of a ``grid`` x ``grid`` division.

    Args:
        channels: channels of a region.
        hidden: width of the two hidden layers.
        grid: parts of a region along each side.

    Raises:
        ValueError: one of these is under 1.
    """

    def __init__(self, channels: int, hidden: int = 256, grid: int = 1) -> None:
        super().__init__()
        for key, value in (("channels", channels), ("hidden", hidden), ("grid", grid)):
            if value < 1:
                raise ValueError(f"{key}={value}: expected 1 or more")
        self.grid = grid
        self.layers = nn.Sequential(
            nn.Linear(channels * grid * grid, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, 1),
        )

    def forward(self, regions: Float[Tensor, "R C P P"]) -> Float[Tensor, " R"]:
        """Logits of regions, computed in float32 even under autocast."""
        with torch.autocast(regions.device.type, enabled=False):
            pooled = F.adaptive_avg_pool2d(regions.float(), self.grid)
            return self.layers(pooled.flatten(1))[:, 0]
