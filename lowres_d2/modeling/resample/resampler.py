"""The base of all resamplers: full-resolution images in, the detector's input images out.

Images are float32 in [0, 1]. A resampler runs outside autocast.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from lowres_d2.structures import (
    Size,
    as_factor,
    by_size,
    check_factor_fits,
    low_res_size,
    pad_to_factor,
)

from jaxtyping import Float
from torch import Tensor, nn


class Resampler(nn.Module):
    """Base of all resamplers; a subclass implements ``resample``.

    Args:
        factor: full-resolution pixels in one low-resolution pixel, on both axes.
    """

    def __init__(self, factor: Fraction | int | float | str) -> None:
        super().__init__()
        self.factor = as_factor(factor)

    def forward(
        self, images: Sequence[Float[Tensor, "C _H _W"]]
    ) -> list[Float[Tensor, "low_C _H _W"]]:
        """Resample each image as if it were alone; images of one size are computed as a batch.

        Returns:
            The low-resolution images in the same order.
        """
        return by_size(self._padded_and_resampled, images)

    def _padded_and_resampled(
        self, images: Float[Tensor, "N C H W"]
    ) -> Float[Tensor, "N low_C low_H low_W"]:
        size = (images.shape[-2], images.shape[-1])
        check_factor_fits(size, self.factor)
        low_res = self.resample(pad_to_factor(images, self.factor))
        self._check(low_res, size)
        return low_res

    def resample(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N low_C low_H low_W"]:
        """Downsample images of one size by exactly the factor.

        Args:
            images: height and width are padded to multiples of the factor's numerator.
        """
        raise NotImplementedError

    def _check(self, low_res: Float[Tensor, "N low_C low_H low_W"], size: Size) -> None:
        # Boxes are scaled by the factor, so another size would silently shift them all.
        expected = low_res_size(size, self.factor)
        if tuple(low_res.shape[-2:]) != expected:
            raise ValueError(
                f"{type(self).__name__} made {tuple(low_res.shape[-2:])} of an image of {size}: "
                f"its factor {self.factor} asks for {expected}"
            )

    def extra_repr(self) -> str:
        return f"factor={self.factor}"
