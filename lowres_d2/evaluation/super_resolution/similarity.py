"""PSNR and SSIM of images in [0, 1], one value an image.

Papers differ in channels and borders: those of super-resolution mostly measure luminance and leave
out a border. Here all channels and all pixels count unless the caller leaves some out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

MOST_PSNR = 100.0  # of equal images it is infinite, and no mean is left
WINDOW, SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2  # of a data range of 1
_LUMINANCE = (65.481 / 255, 128.553 / 255, 24.966 / 255)  # ITU-R BT.601, 16 to 235 of 255


def psnr(
    images: Float[Tensor, "N C H W"], targets: Float[Tensor, "N C H W"]
) -> Float[Tensor, " N"]:
    """Peak signal-to-noise ratio in dB, at most 100: -10 log10 of the mean squared difference.

    The mean is over channels and pixels of an image.
    """
    squares = (images - targets).square().flatten(1).mean(1)
    return (-10 * squares.log10()).clamp(max=MOST_PSNR)


def ssim(
    images: Float[Tensor, "N C H W"], targets: Float[Tensor, "N C H W"]
) -> Float[Tensor, " N"]:
    """Structural similarity, Wang et al. 2004: a Gaussian window of 11x11, sigma 1.5, at each place
    where it fits; K1 = 0.01, K2 = 0.03. The mean is over places and channels.

    For images with a side under 11 the window has the largest odd side that fits.
    """
    side = min(WINDOW, *images.shape[-2:])
    side -= 1 - side % 2
    offsets = torch.arange(side, dtype=images.dtype, device=images.device) - side // 2
    line = torch.exp(-offsets.square() / (2 * SIGMA**2))
    line = line / line.sum()

    def mean(values: Tensor) -> Tensor:
        rows = F.conv2d(values.flatten(0, 1)[:, None], line.view(1, 1, 1, -1))
        return F.conv2d(rows, line.view(1, 1, -1, 1))

    mean_x, mean_y = mean(images), mean(targets)
    var_x = mean(images.square()) - mean_x.square()
    var_y = mean(targets.square()) - mean_y.square()
    covariance = mean(images * targets) - mean_x * mean_y
    places = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    places = places / ((mean_x.square() + mean_y.square() + _C1) * (var_x + var_y + _C2))
    return places.view(len(images), -1).mean(1)


def luminance(images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 1 H W"]:
    """Y of YCbCr as super-resolution papers have it (ITU-R BT.601), of RGB, from 16/255 on."""
    weights = images.new_tensor(_LUMINANCE).view(3, 1, 1)
    return (images * weights).sum(1, keepdim=True) + 16 / 255
