"""The base of all resamplers: full-resolution images in, the detector's input images out.

Images are float32 in [0, 1]. A resampler runs outside autocast.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction

from lowres_d2.structures import Size, as_factor, check_factor_fits, low_res_size, pad_to_factor

import torch
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
        by_size: dict[Size, list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            by_size[image.shape[-2], image.shape[-1]].append(index)
        results: dict[int, Tensor] = {}
        for size, members in by_size.items():
            check_factor_fits(size, self.factor)
            alone = len(members) == 1  # a view then, no copy
            first = images[members[0]]
            batch = first[None] if alone else torch.stack([images[i] for i in members])
            batch = pad_to_factor(batch, self.factor)
            low_res = self.resample(batch)
            self._check(low_res, size)
            results.update(zip(members, low_res.unbind(), strict=True))
        return [results[index] for index in range(len(images))]

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
