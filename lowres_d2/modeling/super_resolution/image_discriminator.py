"""The discriminator of SRGAN, Ledig et al., CVPR 2017, Sec. 2.1 and Fig. 4: logits of images, above
0 for those that it takes for real.
"""

from __future__ import annotations

from lowres_d2.modeling.super_resolution.network import check_sizes

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ImageDiscriminator(nn.Module):
    """3x3 convolutions, every second of which halves the sides, then two fully connected layers.

    Args:
        image_size: height and width of the images that it sees: those that the network makes.
        width: channels after the first two convolutions; each next two have twice as many.
        depth: number of halvings; 4 in the paper, which takes 16x16 pixels to one cell.
        hidden: width of the fully connected layer.
        channels: channels of the images.

    Raises:
        ValueError: one of these is under 1.
    """

    def __init__(
        self,
        image_size: int = 16,
        width: int = 64,
        depth: int = 4,
        hidden: int = 1024,
        channels: int = 3,
    ) -> None:
        super().__init__()
        check_sizes(
            dict(image_size=image_size, width=width, depth=depth, hidden=hidden, channels=channels)
        )
        self.image_size = image_size
        layers: list[nn.Module] = []
        before, side = channels, image_size
        for k in range(depth):
            after = width * 2**k
            # The first convolution has no norm.
            layers += _convolution(before, after, 1, norm=k > 0) + _convolution(after, after, 2)
            before, side = after, -(-side // 2)
        self.convolutions = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(before * side * side, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1)
        )

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, " N"]:
        """Logits of images, computed in float32 even under autocast.

        Raises:
            ValueError: images have another size than the network was built for.
        """
        if tuple(images.shape[-2:]) != (self.image_size, self.image_size):
            raise ValueError(
                f"ImageDiscriminator: images of {images.shape[-2]}x{images.shape[-1]} (height x "
                f"width), expected {self.image_size}x{self.image_size}: set image_size to the size "
                "that the super-resolution network makes"
            )
        with torch.autocast(images.device.type, enabled=False):
            return self.classifier(self.convolutions(images.float()).flatten(1))[:, 0]


def _convolution(before: int, after: int, stride: int, norm: bool = True) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, 3, stride, padding=1, bias=not norm)
    norms = [nn.BatchNorm2d(after)] if norm else []
    return [convolution, *norms, nn.LeakyReLU(0.2)]
