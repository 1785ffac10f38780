"""The base of super-resolution networks.

Images are float32 in [0, 1]; a network's output may overshoot. Frames are those of
``lowres_d2.structures``: pixel ``j`` of the input covers the pixels ``[f j, f (j + 1))`` of the
output, ``f`` being the network's factor.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn


class SuperResolutionNetwork(nn.Module):
    """Images in, larger images out; a subclass implements ``forward``.

    Args:
        factor: pixels along each side that the network makes of one, 2 or more.
        channels: channels of the images.
        **sizes: other whole numbers, from 1 up.

    Raises:
        ValueError: one of these is too small or not a whole number.
    """

    def __init__(self, factor: int, channels: int, **sizes: int) -> None:
        super().__init__()
        check_sizes({"channels": channels, **sizes})
        if type(factor) is not int or factor < 2:
            raise ValueError(f"factor={factor!r}: expected a whole number from 2 up")
        self.factor = factor
        self.channels = channels

    def forward(self, images: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C H W"]:
        """Super-resolve images; height and width grow by the factor."""
        raise NotImplementedError

    def _check(self, images: Float[Tensor, "N C h w"]) -> None:
        if images.shape[1] != self.channels:
            raise ValueError(
                f"{type(self).__name__}: images have {images.shape[1]} channels, expected "
                f"{self.channels}: set channels to that of the images"
            )


def check_sizes(sizes: Mapping[str, int]) -> None:
    """Raise unless all of these are whole numbers from 1 up."""
    for key, value in sizes.items():
        if type(value) is not int or value < 1:
            raise ValueError(f"{key}={value!r}: expected a whole number from 1 up")
