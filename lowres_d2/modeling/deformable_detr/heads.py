"""What is predicted of a query: class logits and a box.

Shapes: (..., C) queries, K classes. Boxes are (x, y, width, height), shares of the image.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn


def class_head(channels: int, num_classes: int, prior: float = 0.01) -> nn.Linear:
    """(..., C) to (..., K) logits that start at a probability (Lin et al. 2017).

    Args:
        channels: C.
        num_classes: K.
        prior: probability of every class at first.
    """
    linear = nn.Linear(channels, num_classes)
    nn.init.constant_(linear.bias, -math.log((1 - prior) / prior))
    return linear


class BoxHead(nn.Module):
    """Three linear layers; their output moves a reference in the space of logits.

    Args:
        channels: C.
        size_bias: what the logits of width and height start at.
    """

    def __init__(self, channels: int, size_bias: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(channels, n) for n in (channels, channels, 4))
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)
        nn.init.constant_(self.layers[-1].bias[2:], size_bias)

    def logits(self, x: Tensor) -> Tensor:
        """(..., C) to (..., 4), before a reference is added."""
        for layer in self.layers[:-1]:
            x = layer(x).relu_()
        return self.layers[-1](x)

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """(..., C) queries and (..., 2) points or (..., 4) boxes to (..., 4) boxes."""
        known = reference.logit(eps=1e-5)
        return (self.logits(x) + F.pad(known, (0, 4 - known.shape[-1]))).sigmoid()
