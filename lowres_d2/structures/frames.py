"""Exact frames: how the coordinates of an image and of its low-resolution copy correspond.

Frames are continuous with the origin at the top left; pixel ``i`` covers ``[i, i + 1)``. Under the
exact rational factor ``f = p / q``, low-resolution pixel ``j`` covers ``[f j, f (j + 1))`` of the
full-resolution image, which is first edge-padded at the right and bottom to a multiple of ``p``.
Coordinates therefore scale by exactly ``1 / f`` on both axes, whatever the image's size.

Sizes are (height, width).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

Size = tuple[int, int]

# A float counts as exact only if it is a short fraction: 1.5 is one, 1.333 for 4/3 is not.
_LARGEST_FLOAT_DENOMINATOR = 1024


def as_factor(value: Fraction | int | float | str) -> Fraction:
    """Convert a configuration value to an exact factor.

    Args:
        value: an integer, a string such as ``"3/2"``, a fraction, or a float that is exactly a
            short fraction (1.5, 2.25).

    Raises:
        ValueError: the value is none of these or is not positive.
    """
    problem = ValueError(
        f"factor={value!r}: expected a positive integer or an exact fraction such as '3/2' or 1.5"
    )
    # `True` is an int to Python, but a mistake in a recipe.
    if isinstance(value, bool):
        raise problem
    try:
        factor = Fraction(value)
    # 'x' and NaN raise ValueError, infinity OverflowError, '1/0' ZeroDivisionError.
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        raise problem from None
    if factor <= 0:
        raise problem
    if isinstance(value, float) and factor.denominator > _LARGEST_FLOAT_DENOMINATOR:
        raise ValueError(
            f"factor={value!r} is not an exact fraction: write it as a string, "
            f"such as '{factor.limit_denominator(16)}'"
        )
    return factor


def padded_size(size: Size, factor: Fraction) -> Size:
    """Size of an image after padding to a multiple of the factor's numerator."""
    multiple = factor.numerator
    # In whole numbers: under `torch.compile` lengths are symbols once images differ in size. No
    # quotient of a negative length, which ONNX rounds the other way.
    height, width = (length + -length % multiple for length in size)
    return height, width


def low_res_size(size: Size, factor: Fraction) -> Size:
    """Size of an image after padding and downsampling."""
    # Nothing is dropped: a padded length is a multiple of p, and the factor is p / q. Not
    # `int(length / factor)`: on Python 3.10 `torch.compile` cannot turn a Fraction into an int.
    height, width = (
        length * factor.denominator // factor.numerator for length in padded_size(size, factor)
    )
    return height, width


def check_factor_fits(size: Size, factor: Fraction, name: str = "an image") -> None:
    """Refuse an image of which less than a pixel would be left.

    One side may be shorter than the factor: padding makes one low-resolution pixel of it.

    Args:
        size: of the image.
        factor: full-resolution pixels in one low-resolution pixel.
        name: what the message calls the image.

    Raises:
        ValueError: both sides are shorter than the factor.
    """
    if max(size) * factor.denominator < factor.numerator:
        raise ValueError(
            f"{name} of {size[0]}x{size[1]} (height x width) is smaller than the factor "
            f"{factor}: leave it out, or use a smaller factor"
        )


def pad_to_factor(
    images: Float[Tensor, "N C H W"], factor: Fraction
) -> Float[Tensor, "N C padded_H padded_W"]:
    """Repeat the last row and column until both sides are multiples of the factor's numerator."""
    height, width = images.shape[-2:]
    padded_height, padded_width = padded_size((height, width), factor)
    if (padded_height, padded_width) == (height, width):
        return images
    # Repeated pixels, not zeros, which resamplers would mix into the last row and column.
    return F.pad(images, (0, padded_width - width, 0, padded_height - height), mode="replicate")


def image_sizes(images: Sequence[Shaped[Tensor, "C _H _W"]]) -> tuple[Size, ...]:
    """(height, width) of each image."""
    return tuple((image.shape[-2], image.shape[-1]) for image in images)
