"""The query filter: which of a teacher's predictions are worth learning from.

Most predictions of a detector (queries, cells, proposals) are background, about which the teacher's
class distribution says nothing. Only predictions whose best class probability is above a threshold
are kept ("ThumbDet", Pattern Recognition 138, 2023, Algorithm 1: 0.5). The mean over no predictions
is zero, with a gradient of zero.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

Activation = Literal["sigmoid", "softmax"]


def check_activation(activation: str) -> None:
    """Raise unless this is an activation that class logits can have."""
    if activation not in ("sigmoid", "softmax"):
        raise ValueError(f"activation={activation!r}: expected 'sigmoid' or 'softmax'")


def check_threshold(threshold: float) -> None:
    """Raise unless this is a probability: none is above a larger one, and nothing would be kept."""
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold={threshold}: expected a class probability, from 0 to 1")


def best_class_probability(
    logits: Float[Tensor, "*any scores"], activation: Activation, background: bool = False
) -> Float[Tensor, "*any"]:
    """Probability of the likeliest class.

    Args:
        logits: one score for each class; for background too where ``background`` is set.
        activation: function that turns the head's logits into probabilities.
        background: whether the last score is background's, which is never the likeliest class.
    """
    best = (logits[..., :-1] if background else logits).amax(dim=-1)
    if activation == "sigmoid":
        return best.sigmoid()
    # The softmax of the best alone, normalised by all scores, also by background's.
    return (best - logits.logsumexp(dim=-1)).exp()


def mean_of(
    values: Float[Tensor, "*any"], weights: Float[Tensor, "*any"] | None = None
) -> Float[Tensor, ""]:
    """Mean, weighted if weights are given; zero over no values, and still part of the graph."""
    if weights is None:
        return values.sum() / max(values.numel(), 1)
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)
