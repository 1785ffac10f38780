"""Random choice of positive and negative examples, in a ratio."""

from __future__ import annotations

import torch
from detectron2.layers import nonzero_tuple

__all__ = ["subsample_labels"]


def subsample_labels(
    labels: torch.Tensor, num_samples: int, positive_fraction: float, bg_label: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose examples at random; negatives fill up where positives are few.

    Args:
        labels: (N,) classes; -1 is never chosen.
        num_samples: how many at most.
        positive_fraction: at most this part of them is positive.
        bg_label: the class that counts as negative.

    Returns:
        Indices of the positives and of the negatives chosen.
    """
    is_negative = labels == bg_label
    positive = nonzero_tuple((labels != -1) & ~is_negative)[0]
    negative = nonzero_tuple(is_negative)[0]
    num_positive = min(int(num_samples * positive_fraction), positive.numel())
    num_negative = min(num_samples - num_positive, negative.numel())
    return _choose(positive, num_positive), _choose(negative, num_negative)


def _choose(indices: torch.Tensor, count: int) -> torch.Tensor:
    return indices[torch.randperm(indices.numel(), device=indices.device)[:count]]
