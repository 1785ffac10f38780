"""Colours that are easy to distinguish, for drawing."""

from __future__ import annotations

import itertools
import random

import numpy as np

__all__ = ["colormap", "random_color", "random_colors"]


def _palette() -> np.ndarray:
    """The 74 colours of upstream, RGB in 0..1, by the rules that its output follows."""
    # Matlab's default colours of lines (R2014b), two greys and six plain hues.
    first = """
        0.000 0.447 0.741  0.850 0.325 0.098  0.929 0.694 0.125  0.494 0.184 0.556
        0.466 0.674 0.188  0.301 0.745 0.933  0.635 0.078 0.184
        0.3 0.3 0.3  0.6 0.6 0.6
        1 0 0  1 0.5 0  0.749 0.749 0  0 1 0  0 0 1  0.667 0 1
    """
    colors = [float(number) for number in first.split()]
    # A cube of four reds by four greens by three blues, without its edges of one colour or none.
    thirds = (0, 1 / 3, 2 / 3, 1)
    for blue, red, green in itertools.product((0, 0.5, 1), thirds, thirds):
        edge = red == green == 0 or (blue == 0 and red * green == 0) or red * green * blue == 1
        if not edge:
            colors += red, green, blue
    # Shades of red (from a third), green and blue, and greys.
    for channel, start in ((0, 2), (1, 1), (2, 1)):
        for shade in range(start, 7):
            colors += (shade / 6 * (channel == c) for c in range(3))
    for grey in (0, 1 / 7, 6 / 7, 1):
        colors += grey, grey, grey
    return np.array(colors).round(3).astype(np.float32).reshape(-1, 3)


_COLORS = _palette()


def colormap(rgb: bool = False, maximum: int = 255) -> np.ndarray:
    """All colours.

    Args:
        rgb: RGB in place of BGR.
        maximum: 255 or 1, the value of white.

    Returns:
        float32 (74, 3), the same colours as upstream's.
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
