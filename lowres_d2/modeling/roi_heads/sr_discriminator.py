"""The discriminator of super-resolved region features: "Better to Follow", ICCV 2019, Eq. 5 and 6.

Logits are above 0 for regions that it takes for targets.
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


def discriminator_loss(
    discriminator: nn.Module,
    targets: Float[Tensor, "R C P P"],
    generated: Float[Tensor, "R C P P"],
) -> Float[Tensor, ""]:
    """Eq. 6, the mean over regions: -log D(target) - log(1 - D(generated)).

    Args:
        discriminator: maps regions to logits.
        targets: features of the full image's regions; no gradient flows into them.
        generated: super-resolved features of the same regions; no gradient flows into them.

    Raises:
        ValueError: these are not as many regions of the same size.
    """
    check_same_regions(targets, generated)
    # softplus(-x) = -log D and softplus(x) = -log(1 - D): finite for any logit. Eq. 5 and 6 sum
    # over regions; the means do not depend on how many were drawn.
    right = F.softplus(-discriminator(targets.detach()))
    wrong = F.softplus(discriminator(generated.detach()))
    # Not `mean`, which is NaN without regions.
    return (right + wrong).sum() / max(len(targets), 1)


def check_same_regions(
    targets: Float[Tensor, "R C P P"], generated: Float[Tensor, "other C P P"]
) -> None:
    """Raise unless there is one target for each generated region: a single one would broadcast."""
    if targets.shape != generated.shape:
        raise ValueError(
            f"targets {tuple(targets.shape)} and generated regions {tuple(generated.shape)}: "
            "expected the same regions, channels and cells"
        )


def adversarial_loss(
    discriminator: nn.Module, generated: Float[Tensor, "R C P P"]
) -> Float[Tensor, ""]:
    """Eq. 5, the mean over regions: -log D(generated), the non-saturating form.

    Args:
        discriminator: maps regions to logits; no gradient flows into its parameters.
        generated: super-resolved features.
    """
    # The generator's loss must not train the discriminator to be deceived, even if the losses of
    # both are summed and go through one backward pass.
    fixed = {name: p.detach() for name, p in discriminator.named_parameters()}
    logits = torch.func.functional_call(discriminator, fixed, (generated,))
    return F.softplus(-logits).sum() / max(len(generated), 1)
