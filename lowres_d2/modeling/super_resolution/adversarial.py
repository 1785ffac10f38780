"""Losses of two players: a discriminator that tells targets from what a generator made.

They are those of "Better to Follow", ICCV 2019, Eq. 5 and 6, on the features of regions, and of
SRGAN, CVPR 2017, Eq. 2 and 6, on images. A discriminator gives logits, above 0 for what it takes
for a target.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def discriminator_loss(
    discriminator: nn.Module,
    targets: Float[Tensor, "N C H W"],
    generated: Float[Tensor, "N C H W"],
) -> Float[Tensor, ""]:
    """The mean over the batch of -log D(target) - log(1 - D(generated)).

    Args:
        discriminator: maps regions or images to logits.
        targets: features of the full image's regions, or images; no gradient flows into them.
        generated: super-resolved ones; no gradient flows into them.

    Raises:
        ValueError: these are not as many of the same size.
    """
    check_same_regions(targets, generated)
    # softplus(-x) = -log D and softplus(x) = -log(1 - D): finite for any logit. The papers sum over
    # the batch; the means do not depend on how many were drawn.
    right = F.softplus(-discriminator(targets.detach()))
    wrong = F.softplus(discriminator(generated.detach()))
    # Not `mean`, which is NaN without regions.
    return (right + wrong).sum() / max(len(targets), 1)


def check_same_regions(
    targets: Float[Tensor, "N C H W"], generated: Float[Tensor, "other C H W"]
) -> None:
    """Raise unless there is one target for each generated region: a single one would broadcast."""
    if targets.shape != generated.shape:
        raise ValueError(
            f"targets {tuple(targets.shape)} and generated regions {tuple(generated.shape)}: "
            "expected the same regions, channels and cells"
        )


def adversarial_loss(
    discriminator: nn.Module, generated: Float[Tensor, "N C H W"]
) -> Float[Tensor, ""]:
    """The mean over the batch of -log D(generated), the non-saturating form.

    Args:
        discriminator: maps regions or images to logits; no gradient flows into its parameters.
        generated: super-resolved features or images.
    """
    # The generator's loss must not train the discriminator to be deceived, even if the losses of
    # both are summed and go through one backward pass.
    fixed = {name: p.detach() for name, p in discriminator.named_parameters()}
    logits = torch.func.functional_call(discriminator, fixed, (generated,))
    return F.softplus(-logits).sum() / max(len(generated), 1)
