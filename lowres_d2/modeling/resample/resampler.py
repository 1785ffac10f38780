"""The image-space stage: full-resolution images in, what the detector sees out.

Images are float32 in [0, 1]. Shapes: N images of one size, C channels, H height, W width; under
the factor f = p / q a batch (N, C, H, W), already padded to multiples of p, becomes
(N, C, H / f, W / f). A resampler runs outside autocast.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction

from lowres_d2.structures import Size, as_factor, check_factor_fits, low_res_size, pad_to_factor

import torch
from torch import Tensor, nn


class Resampler(nn.Module):
    """Base of all resamplers; a subclass writes ``resample``.

    Args:
        factor: full-resolution pixels in one low-resolution pixel on either axis.
    """

    def __init__(self, factor: Fraction | int | float | str) -> None:
        super().__init__()
        self.factor = as_factor(factor)

    def forward(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Resample each image as if it were alone.

        Args:
            images: (C, H, W) each, of any sizes.

        Returns:
            A low-resolution image for each, in the same order.
        """
        by_size: dict[Size, list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            by_size[image.shape[-2], image.shape[-1]].append(index)
        results: dict[int, Tensor] = {}
        for size, members in by_size.items():
            check_factor_fits(size, self.factor)
            alone = len(members) == 1  # then without a copy
            first = images[members[0]]
            batch = first[None] if alone else torch.stack([images[i] for i in members])
            batch = pad_to_factor(batch, self.factor)
            low_res = self.resample(batch)
            self._check(low_res, size)
            results.update(zip(members, low_res.unbind(), strict=True))
        return [results[index] for index in range(len(images))]

    def resample(self, images: Tensor) -> Tensor:
        """(N, C, H, W), padded to multiples of the factor's numerator, to (N, C, H / f, W / f)."""
        raise NotImplementedError

    def _check(self, low_res: Tensor, size: Size) -> None:
        expected = low_res_size(size, self.factor)
        if tuple(low_res.shape[-2:]) != expected:
            raise ValueError(
                f"{type(self).__name__} made {tuple(low_res.shape[-2:])} of an image of {size}: "
                f"its factor {self.factor} asks for {expected}"
            )

    def extra_repr(self) -> str:
        return f"factor={self.factor}"
