"""What a 1-bit layer does to its input: a sign, at 0 or at a threshold for each channel."""

from __future__ import annotations

from lowres_d2.layers.one_bit.signs import check_gradient, sign

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Sign(nn.Module):
    """The sign of each value.

    Args:
        gradient: see :func:`~lowres_d2.layers.one_bit.sign`.

    Raises:
        ValueError: there is no such gradient.
    """

    def __init__(self, gradient: str = "clip") -> None:
        super().__init__()
        check_gradient(gradient)
        self.gradient = gradient

    def forward(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """-1 or +1."""
        return sign(x, self.gradient)

    def extra_repr(self) -> str:
        """The gradient, for ``print``."""
        return self.gradient


class ShiftedSign(Sign):
    """+1 from a learned threshold of each channel on: the RSign of ReActNet (ECCV 2020, Eq. 1).

    A value that equals its threshold gives +1, where the paper has -1.

    Args:
        channels: their number.
        gradient: see :func:`~lowres_d2.layers.one_bit.sign`.
        axis: where the channels are: 1 of feature maps, -1 of vectors.

    Raises:
        ValueError: there is no such gradient.
    """

    def __init__(self, channels: int, gradient: str = "clip", axis: int = 1) -> None:
        super().__init__(gradient)
        self.threshold = nn.Parameter(torch.zeros(channels))
        self.axis = axis

    def forward(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """-1 or +1."""
        shape = [1] * x.dim()
        shape[self.axis] = -1
        return super().forward(x - self.threshold.to(x.dtype).view(shape))
