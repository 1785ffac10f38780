"""Prediction heads of a query: class logits and a box.

Boxes are (x, y, width, height) around their centre, points (x, y); both are normalised by the
image's size.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def class_head(channels: int, num_classes: int, prior: float = 0.01) -> nn.Linear:
    """A linear layer from queries to logits, with the initial bias of Lin et al. 2017.

    Args:
        channels: channels of a query.
        num_classes: number K of classes.
        prior: initial probability of every class.
    """
    linear = nn.Linear(channels, num_classes)
    nn.init.constant_(linear.bias, -math.log((1 - prior) / prior))
    return linear


class BoxHead(nn.Module):
    """Three linear layers, whose output is added to the logits of a reference.

    Args:
        channels: channels of a query.
        size_bias: initial logit of width and height.
    """

    def __init__(self, channels: int, size_bias: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(channels, n) for n in (channels, channels, 4))
        # Zeros: at the start a box depends on its reference alone, not on its query.
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)
        nn.init.constant_(self.layers[-1].bias[2:], size_bias)

    def logits(self, x: Float[Tensor, "*any C"]) -> Float[Tensor, "*any 4"]:
        """The layers' output, before a reference is added."""
        for layer in self.layers[:-1]:
            x = layer(x).relu_()
        return self.layers[-1](x)

    def forward(
        self,
        x: Float[Tensor, "*any C"],
        reference: Float[Tensor, "*any 2"] | Float[Tensor, "*any 4"],
    ) -> Float[Tensor, "*any 4"]:
        """Boxes of queries, from their reference points or reference boxes."""
        # 1e-5 as the authors have it, whose weights we convert; 0 and 1 would give infinity.
        known = reference.logit(eps=1e-5)
        # A reference point has no size: the head's own logits of width and height stand alone.
        return (self.logits(x) + F.pad(known, (0, 4 - known.shape[-1]))).sigmoid()
