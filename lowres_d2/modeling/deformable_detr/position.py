"""Sinusoidal positional encoding: Vaswani et al. 2017, in two dimensions as in DETR.

Positions are normalised by the image's size, 0 to 1. The fastest wave has one period over the
image.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def sine_features(
    position: Float[Tensor, "*any"], channels: int, temperature: float = 10000.0
) -> Float[Tensor, "*any channels"]:
    """Sines and cosines, alternating, of waves from fast to slow.

    Args:
        position: coordinates, 0 to 1.
        channels: number of features, even.
        temperature: upper limit of the ratio of the slowest wave's period to the fastest's.

    Raises:
        ValueError: the number of features is odd.
    """
    if channels % 2:
        raise ValueError(f"channels={channels}: expected an even number")
    octave = torch.arange(0, channels, 2, device=position.device, dtype=position.dtype)
    phase = position[..., None] * (2 * math.pi / temperature ** (octave / channels))
    return torch.stack([phase.sin(), phase.cos()], -1).flatten(-2)
