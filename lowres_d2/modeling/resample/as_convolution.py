"""Antialiased interpolation as convolutions, for exported graphs.

Runtimes differ in their antialiased resizing (OpenVINO ignores the antialiasing of ONNX's
``Resize``), but not in their convolutions. With an exact factor p/q the weights of a low-resolution
pixel depend on its index modulo q only: q filters with a stride of p along each axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def _triangle(x: float) -> float:
    return max(1 - abs(x), 0.0)


def _cubic(x: float) -> float:
    # Keys (1981) with a = -1/2, as Pillow and torch have it with antialiasing.
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


# Kernel, and the distance at which it ends.
_KERNELS: dict[str, tuple[Callable[[float], float], int]] = {
    "bilinear": (_triangle, 1),
    "bicubic": (_cubic, 2),
}


def convolved(
    images: Float[Tensor, "N C H W"],
    factor: Fraction,
    interpolation: Literal["bicubic", "bilinear", "box"],
) -> Float[Tensor, "N C resized_H resized_W"]:
    """What ``F.interpolate`` makes of the images with antialiasing.

    Args:
        images: height and width are multiples of the factor's numerator.
        factor: pixels of the images in one of the results; under 1 results are larger.
        interpolation: ``"box"`` for a whole factor, or one that is 1 / a whole number.
    """
    if interpolation == "box":
        if factor >= 1:
            return F.avg_pool2d(images, int(factor))
        return F.interpolate(images, scale_factor=float(1 / factor), mode="nearest")
    along_width = _along_width(images, factor, interpolation)
    return _along_width(along_width.mT, factor, interpolation).mT


def _along_width(
    images: Float[Tensor, "N C H W"], factor: Fraction, interpolation: str
) -> Float[Tensor, "N C H resized_W"]:
    first, filters = _filters(factor, interpolation)
    channels, stride = images.shape[1], factor.numerator
    weight = images.new_tensor(filters)[:, None, None]  # (q, 1, 1, taps)
    # Taps outside the image do not count: the sum is divided by the weights of those inside.
    padding = (-first, first + len(filters[0]) - stride)
    sums = F.conv2d(
        F.pad(images, padding), weight.repeat(channels, 1, 1, 1), None, (1, stride), groups=channels
    )
    inside = F.pad(torch.ones_like(images[:1, :1, :1]), padding)
    sums = sums.unflatten(1, (channels, len(filters)))
    shares = F.conv2d(inside, weight, None, (1, stride))[:, None]  # (1, 1, q, 1, w)
    return (sums / shares).permute(0, 1, 3, 4, 2).flatten(3)


def _filters(factor: Fraction, interpolation: str) -> tuple[int, list[list[float]]]:
    """The first tap, relative to pixel p m, and the weights of results q m to q m + q - 1."""
    kernel, reach = _KERNELS[interpolation]
    scale = max(factor, Fraction(1))
    centres = [factor * (2 * phase + 1) / 2 for phase in range(factor.denominator)]
    first = math.floor(min(centres) - reach * scale)
    last = math.ceil(max(centres) + reach * scale)
    # The image must reach to the last tap of the last result, whatever its length.
    last = max(last, factor.numerator)
    taps = range(min(first, 0), last)
    filters = [
        [kernel(float((tap + Fraction(1, 2) - centre) / scale)) for tap in taps]
        for centre in centres
    ]
    return taps[0], [[weight / sum(one) for weight in one] for one in filters]
