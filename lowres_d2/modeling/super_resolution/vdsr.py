"""VDSR: "Accurate image super-resolution using very deep convolutional networks", Kim et al.,
CVPR 2016, Sec. 3.

The network sees the interpolated image and adds what is missing. The paper works on luminance,
here on all colours; it clips gradients by the learning rate, see ``train.clip_gradients``.
"""

from __future__ import annotations

from fractions import Fraction

from lowres_d2.modeling.resample.interpolation import rescaled
from lowres_d2.modeling.super_resolution.network import SuperResolutionNetwork

import fvcore.nn.weight_init as weight_init
from jaxtyping import Float
from torch import Tensor, nn


class VDSR(SuperResolutionNetwork):
    """3x3 convolutions with ReLU that predict the residual of the interpolated image.

    Args:
        factor: pixels along each side that the network makes of one.
        width: channels of the hidden layers.
        depth: number of convolutions; 20 in the paper.
        channels: channels of the images.

    Raises:
        ValueError: one of these is too small.
    """

    def __init__(
        self, factor: int = 2, width: int = 64, depth: int = 20, channels: int = 3
    ) -> None:
        super().__init__(factor, channels, width=width, depth=depth)
        if depth < 2:
            raise ValueError(f"depth={depth}: expected 2 or more")
        layers: list[nn.Module] = []
        for before in [channels] + [width] * (depth - 2):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
        layers.append(nn.Conv2d(width, channels, 3, padding=1))
        for layer in layers[::2]:
            weight_init.c2_msra_fill(layer)
        # The paper starts all layers so (He et al. 2015). The last one starts near zero here: a new
        # network returns about the interpolated image, which a short training then improves on.
        nn.init.normal_(layers[-1].weight, std=1e-3)
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C H W"]:
        """Super-resolve images.

        Raises:
            ValueError: they have another number of channels.
        """
        self._check(images)
        large = rescaled(images, Fraction(1, self.factor), "bicubic")
        return large + self.layers(large)
