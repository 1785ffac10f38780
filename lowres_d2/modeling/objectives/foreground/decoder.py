"""A decoder that makes an image of feature maps: DFR-Det (Xu et al., ICML 2024), Sec. 3.2, phi(F).

Each level is brought to one size by a deconvolution and bilinear interpolation, with its channels;
the levels are concatenated and pass residual blocks; a 1x1 convolution and a pixel shuffle make the
image.

The paper squeezes to 12 channels at a quarter of the image's size and shuffles by 2, which gives
half the size, though its image is "equally shaped as the input image X". Here are three readings:
``stride=4``, the default, has 48 channels and shuffles by 4; ``stride=2`` has the paper's 12
channels at half the image's size; ``stride=4, shuffle=2`` has all of its numbers, and enlarges the
image by 2 at the end. The residual blocks "follow" Talebi and Milanfar, "Learning to Resize Images
for Computer Vision Tasks" (ICCV 2021), Fig. 4, whose form they have. Their number is ours, and so
is the 1x1 convolution in front of them, where ``width`` is given: the concatenated 768 channels of
a usual detector would take three times the detector's own operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lowres_d2.modeling.super_resolution.network import check_sizes

import torch
from detectron2.layers import get_norm
from jaxtyping import Float
from torch import Tensor, nn


class ImageDecoder(nn.Module):
    """Feature maps of one image size in, images of that size out.

    Args:
        levels: names of the feature maps to decode, such as ``["p2", "p3", "p4"]``.
        strides: pixels of the detector's input from one cell to the next, by name of these levels,
            and of others or not.
        channels: channels of each level.
        width: channels of the residual blocks; None for those of all levels together.
        depth: number of residual blocks.
        stride: pixels of the image from one cell of the blocks to the next.
        shuffle: pixels along each side that the pixel shuffle makes of a cell; None for all of
            ``stride``. Bilinear interpolation makes the rest.
        norm: normalisation in the blocks, as ``get_norm`` of Detectron2 takes it; "" for none.
        image_channels: channels of the images.

    Raises:
        ValueError: a number is too small, ``stride`` is no multiple of ``shuffle``, there is no
            level, or a level's stride is missing or not ``stride`` times a power of 2.
    """

    def __init__(
        self,
        levels: Sequence[str],
        strides: Mapping[str, int],
        channels: int,
        width: int | None = None,
        depth: int = 2,
        stride: int = 4,
        shuffle: int | None = None,
        norm: str | Callable[[int], nn.Module] = "BN",
        image_channels: int = 3,
    ) -> None:
        super().__init__()
        shuffle = stride if shuffle is None else shuffle
        concatenated = channels * len(levels)
        width = concatenated if width is None else width
        check_sizes(dict(channels=channels, width=width, depth=depth, stride=stride))
        check_sizes(dict(shuffle=shuffle, image_channels=image_channels))
        if stride % shuffle:
            raise ValueError(f"stride={stride}: expected a multiple of shuffle={shuffle}")
        if not levels or isinstance(levels, str) or not set(levels) <= set(strides):
            raise ValueError(
                f"levels={levels}: expected a list of names among strides={dict(strides)}"
            )
        self.strides = {level: strides[level] for level in levels}
        for level, cells in self.strides.items():
            if not _is_power_of_2_times(stride, cells):
                raise ValueError(
                    f"strides[{level!r}]={cells}: expected the decoder's stride={stride}, or 2, 4, "
                    "8, ... times that"
                )
        self.stride = stride
        self.image_channels = image_channels
        self.upsample = nn.ModuleDict(
            {level: _upsample(channels, s // stride) for level, s in self.strides.items()}
        )
        self.narrow = nn.Conv2d(concatenated, width, 1) if width != concatenated else nn.Identity()
        self.blocks = nn.ModuleList(_block(width, norm) for _ in range(depth))
        self.last = nn.Sequential(
            nn.Conv2d(width, image_channels * shuffle**2, 1), nn.PixelShuffle(shuffle)
        )
        if shuffle < stride:
            self.last.append(nn.Upsample(scale_factor=stride // shuffle, mode="bilinear"))

    def forward(
        self, features: Mapping[str, Float[Tensor, "N _C _h _w"]]
    ) -> Float[Tensor, "N C H W"]:
        """Images of the size that the finest level covers, padding included; float32.

        Raises:
            KeyError: a level is missing.
            ValueError: a level does not cover the image that the finest one covers.
        """
        missing = [level for level in self.strides if level not in features]
        if missing:
            raise KeyError(
                f"ImageDecoder: no level {', '.join(missing)} among the features, which are "
                f"{', '.join(features)}: name some of these in `levels`"
            )
        finest = min(self.strides, key=self.strides.__getitem__)
        repeated = self.strides[finest] // self.stride
        height, width = (cells * repeated for cells in features[finest].shape[-2:])
        levels = []
        for level, upsample in self.upsample.items():
            # Coarse levels of an odd number of cells cover more than the image.
            cells = upsample(features[level].float())[..., :height, :width]
            if cells.shape[-2:] != (height, width):
                raise ValueError(
                    f"ImageDecoder: {level} of {tuple(features[level].shape[-2:])} cells at a "
                    f"stride of {self.strides[level]} covers less of the image than {finest}: "
                    "check `strides`"
                )
            levels.append(cells)
        decoded = self.narrow(torch.cat(levels, dim=1))
        for block in self.blocks:
            decoded = decoded + block(decoded)
        return self.last(decoded)


def _upsample(channels: int, times: int) -> nn.Sequential:
    """A deconvolution, then bilinear interpolation.

    The deconvolution doubles the sides of a level that has to grow, and keeps those of one that
    already has the size.
    """
    kernel, stride = (3, 1) if times == 1 else (4, 2)
    layers: list[nn.Module] = [nn.ConvTranspose2d(channels, channels, kernel, stride, padding=1)]
    if times > stride:
        layers.append(nn.Upsample(scale_factor=times // stride, mode="bilinear"))
    return nn.Sequential(*layers)


def _block(width: int, norm: str | Callable[[int], nn.Module]) -> nn.Sequential:
    """The residual branch of a block."""
    first, second = (get_norm(norm, width) or nn.Identity() for _ in range(2))
    # A norm takes its mean away, and with it a bias.
    bias = isinstance(first, nn.Identity)
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=bias),
        first,
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, width, 3, padding=1, bias=bias),
        second,
    )


def _is_power_of_2_times(unit: int, stride: int) -> bool:
    times = stride // unit
    return stride % unit == 0 and times > 0 and times & (times - 1) == 0
