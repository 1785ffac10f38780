"""Distances between features of student and teacher at the same image points.

Every image (or group of images) gives a pair: the student's features and the teacher's, at the same
points. It may also give weights of its points; the weights of a batch sum to 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# (student's, teacher's) features; the number of points differs from pair to pair.
Points = Sequence[tuple[Float[Tensor, "C _X"], Float[Tensor, "C _X"]]]
Weights = Sequence[Float[Tensor, " _X"]]

# Added to a variance under the root: all features of a channel behind a ReLU may be zero.
_EPSILON = 1e-6


def squared_distance(points: Points, weights: Weights | None = None) -> Float[Tensor, ""]:
    """Mean over points and channels of the squared difference (ThumbDet, Sec. 3.4)."""
    if weights is None:
        # Features can be large: `mse_loss` reads them once forward and once backward.
        squares = [F.mse_loss(student, teacher, reduction="sum") for student, teacher in points]
        # ThumbDet, Eq. 8. Images may differ in size: each point counts the same, not each image.
        return torch.stack(squares).sum() / sum(student.numel() for student, _ in points)
    squares = [(student - teacher).square().mean(dim=0) for student, teacher in points]
    return torch.stack([(w * s).sum() for w, s in zip(weights, squares, strict=True)]).sum()


def euclidean_distance(points: Points, weights: Weights | None = None) -> Float[Tensor, ""]:
    """Half the squared distance of the features of a point, mean over points (DFD, Eq. 1).

    The paper's points are images: it has one vector of features for each.
    """
    mean_square = squared_distance(points, weights)
    return mean_square * points[0][0].shape[0] / 2  # the sum over the d channels, not their mean


def correlation_distance(points: Points, weights: Weights | None = None) -> Float[Tensor, ""]:
    """One minus the correlation of student and teacher over the points, mean over channels.

    Source: Cao et al., "PKD", NeurIPS 2022, Eq. 2: half the squared difference of features that
    were standardised channel by channel. It ignores the scale and the offset of each channel.
    """
    standardised = (_standardised([pair[side] for pair in points]) for side in (0, 1))
    return squared_distance(list(zip(*standardised, strict=True)), weights) / 2


def channel_distance(points: Points, temperature: float = 4.0) -> Float[Tensor, ""]:
    """KL divergence of student from teacher, both softmaxes over points; mean over channels.

    Source: Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", ICCV 2021, Eq.
    4, 5, with their temperature of 4. It takes no weights: the softmax over points already weights
    them.
    """
    divergences = []
    for student, teacher in points:
        ours = torch.log_softmax(student / temperature, dim=1)
        theirs = torch.log_softmax(teacher / temperature, dim=1)
        divergences.append((theirs.exp() * (theirs - ours)).sum(dim=1).mean())
    return temperature**2 * torch.stack(divergences).mean()


def _standardised(features: Sequence[Float[Tensor, "C _X"]]) -> list[Float[Tensor, "C _X"]]:
    """Features with mean 0 and variance 1 of each channel over all points of the batch."""
    together = torch.cat(list(features), dim=1)
    mean = together.mean(dim=1, keepdim=True)
    # Not `var_mean`: on a CPU it takes up to 15 times as long.
    scale = ((together - mean).square().mean(dim=1, keepdim=True) + _EPSILON).rsqrt()
    return [(f - mean) * scale for f in features]
