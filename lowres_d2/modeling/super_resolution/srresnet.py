"""SRResNet, the generator of SRGAN: "Photo-realistic single image super-resolution using a
generative adversarial network", Ledig et al., CVPR 2017, Sec. 2.1 and Fig. 4.
"""

from __future__ import annotations

from lowres_d2.modeling.super_resolution.network import SuperResolutionNetwork

from jaxtyping import Float
from torch import Tensor, nn


class SRResNet(SuperResolutionNetwork):
    """Residual blocks on the small image, then sub-pixel convolutions that each double its sides.

    Args:
        factor: pixels along each side that the network makes of one: 2, 4, 8, ...; 4 in the paper.
        width: channels of the residual blocks.
        depth: number of residual blocks; 16 in the paper.
        channels: channels of the images.

    Raises:
        ValueError: the factor is no power of 2, or another number is too small.
    """

    def __init__(
        self, factor: int = 2, width: int = 64, depth: int = 16, channels: int = 3
    ) -> None:
        super().__init__(factor, channels, width=width, depth=depth)
        if factor & (factor - 1):
            raise ValueError(f"factor={factor}: expected a power of 2")
        self.first = nn.Sequential(nn.Conv2d(channels, width, 9, padding=4), nn.PReLU())
        self.blocks = nn.ModuleList(_block(width) for _ in range(depth))
        self.after_blocks = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )
        self.upsample = nn.Sequential(*(_doubled(width) for _ in range(factor.bit_length() - 1)))
        self.last = nn.Conv2d(width, channels, 9, padding=4)

    def forward(self, images: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C H W"]:
        """Super-resolve images.

        Raises:
            ValueError: they have another number of channels.
        """
        self._check(images)
        first = features = self.first(images)
        for block in self.blocks:
            features = features + block(features)
        return self.last(self.upsample(first + self.after_blocks(features)))


def _block(width: int) -> nn.Sequential:
    """The residual branch of a block."""
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.PReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
    )


def _doubled(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.PReLU())
