"""How far two sets of features are from each other, point by point.

Every image gives a pair (student's, teacher's) of (C, P) features at the same P points, and
optionally (P,) weights of its points; the weights of a batch sum to 1.

Shapes: C channels, P points; they differ from image to image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Points = Sequence[tuple[Tensor, Tensor]]

# Under the root of a variance; features behind a ReLU may be zero throughout.
_EPSILON = 1e-6


def squared_distance(points: Points, weights: Sequence[Tensor] | None = None) -> Tensor:
    """Mean over points and channels of the squared difference (ThumbDet, Sec. 3.4)."""
    if weights is None:
        # One pass forward and one backward over features that can be large.
        squares = [F.mse_loss(student, teacher, reduction="sum") for student, teacher in points]
        return torch.stack(squares).sum() / sum(student.numel() for student, _ in points)
    squares = [(student - teacher).square().mean(dim=0) for student, teacher in points]
    return torch.stack([(w * s).sum() for w, s in zip(weights, squares, strict=True)]).sum()


def correlation_distance(points: Points, weights: Sequence[Tensor] | None = None) -> Tensor:
    """One minus the correlation of student and teacher over the points, mean of the channels.

    Source: Cao et al., "PKD", NeurIPS 2022, Eq. 2: half the squared difference of features that
    were standardised channel by channel. Blind to a scale and an offset of a channel.
    """
    standardised = (_standardised([pair[side] for pair in points]) for side in (0, 1))
    return squared_distance(list(zip(*standardised, strict=True)), weights) / 2


def channel_distance(points: Points, temperature: float = 4.0) -> Tensor:
    """Divergence of where each channel is active: teacher against student, mean of channels.

    Source: Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", ICCV 2021, Eq.
    4, 5; temperature 4 as there. Unweighted: the softmax over points weighs them itself.
    """
    divergences = []
    for student, teacher in points:
        ours = torch.log_softmax(student / temperature, dim=1)
        theirs = torch.log_softmax(teacher / temperature, dim=1)
        divergences.append((theirs.exp() * (theirs - ours)).sum(dim=1).mean())
    return temperature**2 * torch.stack(divergences).mean()


def _standardised(features: Sequence[Tensor]) -> list[Tensor]:
    """(C, P) each, to mean 0 and variance 1 of each channel over all points of the batch."""
    together = torch.cat(list(features), dim=1)
    mean = together.mean(dim=1, keepdim=True)
    # Not `var_mean`: on a CPU it takes up to 15 times as long.
    scale = ((together - mean).square().mean(dim=1, keepdim=True) + _EPSILON).rsqrt()
    return [(f - mean) * scale for f in features]
