"""ESPCN: "Real-time single image and video super-resolution using an efficient sub-pixel
convolutional neural network", Shi et al., CVPR 2016.

All convolutions are on the small image; the last one makes the ``f x f`` pixels of each cell as
channels, which are then put in their places. The paper works on luminance, here on all colours.
"""

from __future__ import annotations

from itertools import pairwise

from lowres_d2.modeling.super_resolution.network import SuperResolutionNetwork

from jaxtyping import Float
from torch import Tensor, nn


class ESPCN(SuperResolutionNetwork):
    """Convolutions with tanh, then a sub-pixel convolution (Eq. 4).

    Args:
        factor: pixels along each side that the network makes of one.
        width: channels after the first convolution; half as many after the others.
        depth: number of convolutions, the sub-pixel one included; 3 in the paper: 5x5, 3x3, 3x3.
        channels: channels of the images.

    Raises:
        ValueError: one of these is too small.
    """

    def __init__(self, factor: int = 2, width: int = 64, depth: int = 3, channels: int = 3) -> None:
        super().__init__(factor, channels, width=width, depth=depth)
        if depth < 2 or width < 2:
            raise ValueError(f"width={width}, depth={depth}: expected 2 or more")
        widths = [width] + [width // 2] * (depth - 2)
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 5, padding=2), nn.Tanh()]
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.Tanh()]
        layers += [nn.Conv2d(widths[-1], channels * factor**2, 3, padding=1)]
        self.layers = nn.Sequential(*layers, nn.PixelShuffle(factor))

    def forward(self, images: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C H W"]:
        """Super-resolve images.

        Raises:
            ValueError: they have another number of channels.
        """
        self._check(images)
        return self.layers(images)
