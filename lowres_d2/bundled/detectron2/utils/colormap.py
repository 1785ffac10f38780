"""Colours that are easy to distinguish, for drawing."""

from __future__ import annotations

import colorsys
import random

import numpy as np

__all__ = ["colormap", "random_color", "random_colors"]

_HUE_STEP = 0.61803398875  # golden ratio: any run of colours has its hues spread evenly
_TONES = ((0.85, 0.95), (0.55, 1.0), (0.95, 0.65), (0.45, 0.75))  # saturation, value
_COLORS = np.array(
    [colorsys.hsv_to_rgb(i * _HUE_STEP % 1.0, *_TONES[i % len(_TONES)]) for i in range(80)],
    dtype=np.float32,
)


def colormap(rgb: bool = False, maximum: int = 255) -> np.ndarray:
    """All colours.

    Args:
        rgb: RGB in place of BGR.
        maximum: 255 or 1, the value of white.

    Returns:
        float32 (80, 3).
    """
    if maximum not in (255, 1):
        raise ValueError(f"colormap: maximum={maximum}, expected 255 or 1")
    return _COLORS[:, :: 1 if rgb else -1] * maximum


def random_color(rgb: bool = False, maximum: int = 255) -> np.ndarray:
    """One colour (3,), at random; arguments of `colormap`."""
    return random.choice(colormap(rgb, maximum))


def random_colors(N: int, rgb: bool = False, maximum: int = 255) -> list[np.ndarray]:
    """`N` different colours, at random; further arguments of `colormap`."""
    return random.sample(list(colormap(rgb, maximum)), N)
