"""Resamplers without parameters: nothing, antialiased bicubic, and down-up degradation.

Interpolation is in phase with the frames of ``lowres_d2.structures``: low-resolution pixel ``j`` is
centred at ``f (j + 1/2)`` of the full image. Bicubic kernels overshoot at edges, so results are
clamped to [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from lowres_d2.modeling.resample.resampler import Resampler
from lowres_d2.structures import Size, as_factor, check_factor_fits, low_res_size, pad_to_factor

import torch.nn.functional as F
from torch import Tensor


class Identity(Resampler):
    """No resampling: the detector sees the full-resolution image itself."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, images: Sequence[Tensor]) -> list[Tensor]:
        """The images themselves, not copies."""
        return list(images)


class Bicubic(Resampler):
    """Antialiased bicubic interpolation by any rational factor."""

    def resample(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H / f, W / f)."""
        return _bicubic(images, low_res_size(_size(images), self.factor))


class DownUp(Resampler):
    """Lower the resolution and interpolate back: same size and frame, less detail.

    Args:
        factor: by how much the resolution is lowered; ``self.factor``, that of the frame, is 1.
    """

    def __init__(self, factor: Fraction | int | float | str) -> None:
        super().__init__(1)
        self.degradation = as_factor(factor)

    def resample(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        size = _size(images)
        check_factor_fits(size, self.degradation)
        padded = pad_to_factor(images, self.degradation)
        small = _bicubic(padded, low_res_size(size, self.degradation))
        return _bicubic(small, _size(padded))[..., : size[0], : size[1]]

    def extra_repr(self) -> str:
        return f"degradation={self.degradation}"


def _size(images: Tensor) -> Size:
    return images.shape[-2], images.shape[-1]


def _bicubic(images: Tensor, size: Size) -> Tensor:
    resized = F.interpolate(images, size, mode="bicubic", align_corners=False, antialias=True)
    return resized.clamp(0, 1)
