"""PReLU between two learned shifts of each channel: the RPReLU of ReActNet (ECCV 2020, Eq. 4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ShiftedPReLU(nn.Module):
    """PReLU(x - shift_in) + shift_out; its slopes have the name that PReLU's have, ``weight``.

    Args:
        channels: their number, in the second axis of the input.
        slope: of negative values, at first.
    """

    def __init__(self, channels: int, slope: float = 0.25) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), slope))
        self.shift_in = nn.Parameter(torch.zeros(channels))
        self.shift_out = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "N C *any"]) -> Float[Tensor, "N C *any"]:
        """Activations."""
        shape = (-1, *[1] * (x.dim() - 2))
        shift_in, shift_out = (p.to(x.dtype).view(shape) for p in (self.shift_in, self.shift_out))
        return F.prelu(x - shift_in, self.weight.to(x.dtype)) + shift_out

    def extra_repr(self) -> str:
        """Channels, for ``print``."""
        return str(len(self.weight))
