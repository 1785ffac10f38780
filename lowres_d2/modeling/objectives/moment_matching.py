"""Moment matching: the low-resolution image keeps the colours and the contrast of the full one.

Source: ThumbDet (Pattern Recognition 138, 2023, 109424), Eq. 5, for each image x and its
low-resolution image (the paper's thumbnail) y:

    loss = mean over colour channels of (mean(x) - mean(y))^2 + lambda (spread(x) - spread(y))^2

Our copy of the paper has a 3 before the sum over the channels, which we read as 1/3, as in the
authors' code. Moments are computed over each image's own pixels, without padding, in the range
[0, 1]. The paper does not state the range: the loss of images normalised with ImageNet's standard
deviation (0.225) would be about 20 times larger, which ``loss_weights={"moments/*": 20}`` gives. Of
a low-resolution image with more channels than the full one, the first channels are its colours; the
others are free.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Literal

from lowres_d2.modeling.loss_weight import check_loss_weight
from lowres_d2.modeling.objectives.objective import Objective
from lowres_d2.structures import ObjectiveContext

import torch
from jaxtyping import Float
from torch import Tensor

# Added under the root, where a flat image would have an infinite gradient; 1e-4 of the range.
_EPSILON = 1e-8


class MomentMatching(Objective):
    """Squared differences of means and spreads between full and low-resolution images (Eq. 5).

    Args:
        spread_weight: lambda.
        spread: ``"std"`` compares standard deviations, ``"variance"`` variances; the paper speaks
            both of the second moment and of variance.
        reduction: ``"mean"`` over the channels, or ``"sum"``.
        name: group of the losses.
    """

    def __init__(
        self,
        spread_weight: float = 0.1,
        spread: Literal["std", "variance"] = "std",
        reduction: Literal["mean", "sum"] = "mean",
        name: str = "moments",
    ) -> None:
        super().__init__(name)
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction={reduction!r}: expected 'mean' or 'sum'")
        if spread not in ("std", "variance"):
            raise ValueError(f"spread={spread!r}: expected 'std' or 'variance'")
        check_loss_weight("spread_weight", spread_weight)
        self.spread_weight = spread_weight
        self.spread = spread
        self.reduction = reduction

    def forward(self, context: ObjectiveContext) -> dict[str, Float[Tensor, ""]]:
        """Losses ``mean`` and ``spread``, means over the images; ``spread`` includes lambda."""
        by_shape: dict[torch.Size, list[int]] = defaultdict(list)
        for index, low_res in enumerate(context.low_res_images):
            by_shape[low_res.shape].append(index)
        means, spreads = [], []
        for members in by_shape.values():
            # Full images are not stacked, which saves a copy; low-resolution images of one size
            # are, so that they share one graph.
            images = [self._moments(context.images[k][None]) for k in members]
            mean, spread = (torch.cat(parts) for parts in zip(*images, strict=True))
            colours = len(context.images[members[0]])
            low_res = torch.stack([context.low_res_images[k][:colours] for k in members])
            low_res_mean, low_res_spread = self._moments(low_res)
            shared = colours if self.reduction == "mean" else 1
            means.append((mean - low_res_mean).square().sum() / shared)
            spreads.append((spread - low_res_spread).square().sum() / shared)
        number = len(context.images)
        return {
            "mean": torch.stack(means).sum() / number,
            "spread": self.spread_weight * torch.stack(spreads).sum() / number,
        }

    def _moments(
        self, images: Float[Tensor, "N C H W"]
    ) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N C"]]:
        """Means and spreads of the pixels of each channel."""
        pixels = images.float().flatten(2)
        mean = pixels.mean(dim=2)
        # Not `var_mean`: on a CPU it takes 14 times as long.
        variance = (pixels - mean[..., None]).square().mean(dim=2)
        return mean, variance if self.spread == "variance" else (variance + _EPSILON).sqrt()
