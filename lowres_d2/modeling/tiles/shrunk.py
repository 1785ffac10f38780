"""A large image shrunk: for the objects that no tile sees as a whole, or for a first look."""

from __future__ import annotations

from fractions import Fraction

from lowres_d2.structures import Size, WindowedImage, pad_to_factor, padded_size

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_STRIP = 256  # rows that are read at once


def thumbnail(image: WindowedImage, factor: int) -> tuple[Float[Tensor, "C h w"], Size]:
    """Shrink an image by a whole number, to the means of blocks of pixels; strip by strip.

    Returns:
        The small image, and the size in pixels of the large one that it covers, which is a little
        larger than that: its last row and column are repeated to whole blocks of pixels.
    """
    height, width = image.shape[-2:]
    block = Fraction(factor)
    step = factor * -(-_STRIP // factor)
    strips = []
    for top in range(0, height, step):
        strip = image[:, top : min(top + step, height), 0:width].float()[None]
        strips.append(F.avg_pool2d(pad_to_factor(strip, block), factor)[0])
    return torch.cat(strips, dim=1), padded_size((height, width), block)


def shrunk(image: WindowedImage, size: Size) -> tuple[Float[Tensor, "C h w"], Size]:
    """Shrink an image until it fits into a size, both sides alike; strip by strip.

    Args:
        image: larger than the size.
        size: (height, width) of a tile.

    Returns:
        As :func:`thumbnail`.
    """
    height, width = image.shape[-2:]
    # Means of blocks first, of which few are in memory at once; then interpolation by 1 to 2.
    blocks, covered = thumbnail(image, max(1, int(max(height / size[0], width / size[1]))))
    ratio = max(covered[0] / size[0], covered[1] / size[1])
    fitted = [max(1, min(round(a / ratio), b)) for a, b in zip(covered, size, strict=True)]
    small = F.interpolate(blocks[None], size=fitted, mode="bilinear", antialias=True)
    return small[0], covered
