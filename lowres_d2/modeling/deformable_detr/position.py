"""Sine features of positions: Vaswani et al. 2017, in two dimensions as in DETR.

Positions are shares of the image, 0 to 1, at most one period (2 pi) of the slowest wave.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_features(position: Tensor, channels: int, temperature: float = 10000.0) -> Tensor:
    """Sines and cosines, in turns, of waves from fast to slow.

    Args:
        position: (...), 0 to 1.
        channels: even number of features.
        temperature: how many times slower than the first the waves become.

    Returns:
        (..., channels).
    """
    octave = torch.arange(0, channels, 2, device=position.device, dtype=position.dtype)
    phase = position[..., None] * (2 * math.pi / temperature ** (octave / channels))
    return torch.stack([phase.sin(), phase.cos()], -1).flatten(-2)
