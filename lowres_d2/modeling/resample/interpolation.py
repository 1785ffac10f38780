"""Resamplers without parameters: identity, antialiased bicubic, and degradation by down-up.

Interpolation is aligned with the frames of ``lowres_d2.structures``: the centre of low-resolution
pixel ``j`` is at ``f (j + 1/2)`` of the full-resolution image. Bicubic kernels overshoot at edges,
so results are clamped to [0, 1], or to the image's own range where that is wider: a learned
downsampler's thumbnails may exceed [0, 1], and another downsampling must not clip them.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from lowres_d2.modeling.resample.resampler import Resampler
from lowres_d2.structures import Size, as_factor, check_factor_fits, low_res_size, pad_to_factor

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


class Identity(Resampler):
    """No resampling: the detector's input is the full-resolution image."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, images: Sequence[Float[Tensor, "C _H _W"]]) -> list[Float[Tensor, "C _H _W"]]:
        """Return the images themselves, not copies."""
        # LowResDetector recognises the same tensors and then passes the loader's images on.
        return list(images)


class Bicubic(Resampler):
    """Antialiased bicubic interpolation by any rational factor."""

    def resample(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C low_H low_W"]:
        return _interpolated(images, low_res_size(_size(images), self.factor), "bicubic")


class DownUp(Resampler):
    """Downsample and upsample again: same size and frame, less detail (DFD, Sec. 2.2).

    Args:
        factor: factor of the downsampling. ``self.factor`` is 1, since the frame does not change.
        interpolation: of both ways; the paper does not say which. ``"bicubic"`` and
            ``"bilinear"`` are antialiased downwards; ``"box"`` is the mean of a block of pixels,
            repeated over the block, for whole factors.

    Raises:
        ValueError: the interpolation is unknown, or ``"box"`` with a factor that is not whole.
    """

    def __init__(
        self,
        factor: Fraction | int | float | str,
        interpolation: Literal["bicubic", "bilinear", "box"] = "bicubic",
    ) -> None:
        super().__init__(1)
        self.degradation = as_factor(factor)
        if interpolation not in ("bicubic", "bilinear", "box"):
            raise ValueError(
                f"interpolation={interpolation!r}: expected 'bicubic', 'bilinear' or 'box'"
            )
        if interpolation == "box" and self.degradation.denominator > 1:
            raise ValueError(
                f"interpolation='box' with factor {self.degradation}: expected a whole factor; "
                "'bicubic' takes any"
            )
        self.interpolation = interpolation

    def resample(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        size = _size(images)
        check_factor_fits(size, self.degradation)
        padded = pad_to_factor(images, self.degradation)
        # Both ways between padded sizes, whose ratio is exactly the factor; then cropped.
        small = self._resized(padded, low_res_size(size, self.degradation))
        return self._resized(small, _size(padded))[..., : size[0], : size[1]]

    def _resized(
        self, images: Float[Tensor, "N C H W"], size: Size
    ) -> Float[Tensor, "N C resized_H resized_W"]:
        if self.interpolation == "box":
            # Between sizes of a whole ratio: means downwards, repetitions upwards.
            return F.interpolate(images, size, mode="area")
        return _interpolated(images, size, self.interpolation)

    def extra_repr(self) -> str:
        return f"degradation={self.degradation}, interpolation={self.interpolation}"


def _size(images: Float[Tensor, "N C H W"]) -> Size:
    return images.shape[-2], images.shape[-1]


def _interpolated(
    images: Float[Tensor, "N C H W"], size: Size, mode: str
) -> Float[Tensor, "N C resized_H resized_W"]:
    resized = F.interpolate(images, size, mode=mode, align_corners=False, antialias=True)
    # Image by image: results must not depend on what else is in the batch.
    low = images.amin(dim=(1, 2, 3), keepdim=True).clamp(max=0)
    high = images.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    return resized.clamp(low, high)
