"""The query filter: which of a teacher's predictions are worth learning from.

A detector predicts far more than it sees: most queries, cells and proposals are background, about
which a teacher's class distribution says nothing. Kept are those whose best class probability is
above a threshold ("ThumbDet", Pattern Recognition 138, 2023, Algorithm 1: 0.5). A mean over none of
them is zero, with a gradient of zero.

Shapes: ... predictions, K classes.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Activation = Literal["sigmoid", "softmax"]


def check_activation(activation: str) -> None:
    """Refuse anything but the two activations of class logits."""
    if activation not in ("sigmoid", "softmax"):
        raise ValueError(f"activation={activation!r}: expected 'sigmoid' or 'softmax'")


def best_class_probability(
    logits: Tensor, activation: Activation, background: bool = False
) -> Tensor:
    """Probability (...) of the likeliest class.

    Args:
        logits: (..., K), or (..., K + 1) with background last.
        activation: what makes probabilities of the head's logits.
        background: whether the last class is background, which is not counted.
    """
    best = (logits[..., :-1] if background else logits).amax(dim=-1)
    if activation == "sigmoid":
        return best.sigmoid()
    return (best - logits.logsumexp(dim=-1)).exp()


def mean_of(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean, weighted where weights are given; of nothing it is zero, with its graph."""
    if weights is None:
        return values.sum() / max(values.numel(), 1)
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)
