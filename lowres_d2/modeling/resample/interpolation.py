"""Resamplers without parameters: identity, antialiased interpolation, and degradation by down-up.

Interpolation is aligned with the frames of ``lowres_d2.structures``: the centre of low-resolution
pixel ``j`` is at ``f (j + 1/2)`` of the full-resolution image. Bicubic kernels overshoot at edges,
so results are clamped to [0, 1], or to the image's own range where that is wider: a learned
downsampler's thumbnails may exceed [0, 1], and another downsampling must not clip them.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from lowres_d2.modeling.resample.as_convolution import convolved
from lowres_d2.modeling.resample.resampler import Resampler
from lowres_d2.structures import Size, as_factor, check_factor_fits, low_res_size, pad_to_factor

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Interpolation = Literal["bicubic", "bilinear", "box"]
# torch 2.6 does not say whether it exports.
_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)


class Identity(Resampler):
    """No resampling: the detector's input is the full-resolution image."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, images: Sequence[Float[Tensor, "C _H _W"]]) -> list[Float[Tensor, "C _H _W"]]:
        """Return the images themselves, not copies."""
        # LowResDetector recognises the same tensors and then passes the loader's images on.
        return list(images)


class Downsampled(Resampler):
    """Antialiased interpolation by any rational factor.

    Args:
        factor: full-resolution pixels in one low-resolution pixel.
        interpolation: see :class:`DownUp`.

    Raises:
        ValueError: the factor is under 1, the interpolation is unknown, or ``"box"`` with a factor
            that is not whole.
    """

    def __init__(
        self, factor: Fraction | int | float | str, interpolation: Interpolation = "bicubic"
    ) -> None:
        super().__init__(factor)
        check_interpolation(interpolation, self.factor)
        self.interpolation = interpolation

    def resample(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C low_H low_W"]:
        return rescaled(images, self.factor, self.interpolation)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, interpolation={self.interpolation}"


class Bicubic(Downsampled):
    """Antialiased bicubic interpolation by any rational factor."""

    def __init__(self, factor: Fraction | int | float | str) -> None:
        super().__init__(factor, "bicubic")


class DownUp(Resampler):
    """Downsample and upsample again: same size and frame, less detail (DFD, Sec. 2.2).

    Args:
        factor: factor of the downsampling. ``self.factor`` is 1, since the frame does not change.
        interpolation: of both ways; the paper does not say which. ``"bicubic"`` and
            ``"bilinear"`` are antialiased downwards; ``"box"`` is the mean of a block of pixels,
            repeated over the block, for whole factors.

    Raises:
        ValueError: the factor is under 1, the interpolation is unknown, or ``"box"`` with a factor
            that is not whole.
    """

    def __init__(
        self,
        factor: Fraction | int | float | str,
        interpolation: Interpolation = "bicubic",
    ) -> None:
        super().__init__(1)
        self.degradation = as_factor(factor)
        check_interpolation(interpolation, self.degradation)
        self.interpolation = interpolation

    def resample(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        size = _size(images)
        check_factor_fits(size, self.degradation)
        padded = pad_to_factor(images, self.degradation)
        # Both ways between padded sizes, whose ratio is exactly the factor; then cropped.
        small = rescaled(padded, self.degradation, self.interpolation)
        up = rescaled(small, 1 / self.degradation, self.interpolation)
        return up[..., : size[0], : size[1]]

    def extra_repr(self) -> str:
        return f"degradation={self.degradation}, interpolation={self.interpolation}"


def check_interpolation(interpolation: str, factor: Fraction) -> None:
    """Raise unless images can be downsampled so by this factor.

    Raises:
        ValueError: the factor is under 1, the interpolation is unknown, or ``"box"`` with a factor
            that is not whole.
    """
    if factor < 1:
        raise ValueError(
            f"factor={factor}: would make images larger; expected 1 or more, the pixels in one of "
            "the smaller image"
        )
    if interpolation not in ("bicubic", "bilinear", "box"):
        raise ValueError(
            f"interpolation={interpolation!r}: expected 'bicubic', 'bilinear' or 'box'"
        )
    if interpolation == "box" and factor.denominator > 1:
        raise ValueError(
            f"interpolation='box' with factor {factor}: expected a whole factor; 'bicubic' takes "
            "any"
        )


def rescaled(
    images: Float[Tensor, "N C H W"], factor: Fraction, interpolation: Interpolation
) -> Float[Tensor, "N C resized_H resized_W"]:
    """Images interpolated by an exact factor.

    Args:
        images: in [0, 1] or in a range of their own; height and width are multiples of the factor's
            numerator.
        factor: pixels of the images in one of the results; under 1 results are larger.
        interpolation: see :class:`DownUp`.
    """
    if _is_exporting():
        resized = convolved(images, factor, interpolation)
        return resized if interpolation == "box" else _within_range(resized, images)
    return interpolated(images, low_res_size(_size(images), factor), interpolation)


def interpolated(
    images: Float[Tensor, "N C H W"], size: Size, interpolation: Interpolation
) -> Float[Tensor, "N C resized_H resized_W"]:
    """Images interpolated to another size, whose ratio to theirs is the factor.

    Args:
        images: in [0, 1] or in a range of their own.
        size: height and width to make.
        interpolation: see :class:`DownUp`.
    """
    if interpolation == "box":
        # Between sizes of a whole ratio: means downwards, repetitions upwards.
        return F.interpolate(images, size, mode="area")
    resized = F.interpolate(images, size, mode=interpolation, align_corners=False, antialias=True)
    return _within_range(resized, images)


def _within_range(
    resized: Float[Tensor, "N C resized_H resized_W"], images: Float[Tensor, "N C H W"]
) -> Float[Tensor, "N C resized_H resized_W"]:
    # Image by image: results must not depend on what else is in the batch.
    low = images.amin(dim=(1, 2, 3), keepdim=True).clamp(max=0)
    high = images.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    return resized.clamp(low, high)


def _size(images: Float[Tensor, "N C H W"]) -> Size:
    return images.shape[-2], images.shape[-1]
