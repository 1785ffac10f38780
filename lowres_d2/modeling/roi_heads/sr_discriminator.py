"""The discriminator of super-resolved region features: "Better to Follow", ICCV 2019, Eq. 5 and 6.

Shapes: R regions of C channels and P x P cells; logits (R,), above 0 for a target.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SRDiscriminator(nn.Module):
    """A three-layer perceptron that tells target features from super-resolved ones.

    The paper does not say how a region's cells enter it: they are averaged, over the whole region
    or over each part of a ``grid`` x ``grid`` division.

    Args:
        channels: C.
        hidden: features of the two layers in between.
        grid: parts of a region along each side.
    """

    def __init__(self, channels: int, hidden: int = 256, grid: int = 1) -> None:
        super().__init__()
        self.grid = grid
        self.layers = nn.Sequential(
            nn.Linear(channels * grid * grid, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, 1),
        )

    def forward(self, regions: Tensor) -> Tensor:
        """(R, C, P, P) to logits (R,), in float32 under autocast, too."""
        with torch.autocast(regions.device.type, enabled=False):
            pooled = F.adaptive_avg_pool2d(regions.float(), self.grid)
            return self.layers(pooled.flatten(1))[:, 0]


def discriminator_loss(discriminator: nn.Module, targets: Tensor, generated: Tensor) -> Tensor:
    """Eq. 6, the mean over regions: -log D(target) - log(1 - D(generated)).

    Args:
        discriminator: from regions to logits.
        targets: (R, C, P, P).
        generated: (R, C, P, P); no gradient flows into them.
    """
    right = F.softplus(-discriminator(targets.detach()))
    wrong = F.softplus(discriminator(generated.detach()))
    return (right + wrong).sum() / max(len(targets), 1)


def adversarial_loss(discriminator: nn.Module, generated: Tensor) -> Tensor:
    """Eq. 5, the mean over regions: -log D(generated), which does not saturate.

    Args:
        discriminator: from regions to logits; no gradient flows into its parameters.
        generated: (R, C, P, P).
    """
    fixed = {name: p.detach() for name, p in discriminator.named_parameters()}
    logits = torch.func.functional_call(discriminator, fixed, (generated,))
    return F.softplus(-logits).sum() / max(len(generated), 1)
