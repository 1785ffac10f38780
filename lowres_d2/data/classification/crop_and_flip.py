"""Random crop and flip of a whole batch of images of one size."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor


def crop_and_flip(
    images: Shaped[Tensor, "N C H W"],
    top: Int64[Tensor, " N"],
    left: Int64[Tensor, " N"],
    flipped: Bool[Tensor, " N"],
    padding: int,
) -> Shaped[Tensor, "N C H W"]:
    """Crop each image at a place of its own, with black around it, and mirror some of them.

    Args:
        images: the batch, which stays as it is.
        top: first row of each crop in the padded image, 0 to 2 padding; ``padding`` moves nothing.
        left: first column, likewise.
        flipped: which crops are mirrored left to right.
        padding: black pixels on each side.
    """
    number, channels, height, width = images.shape
    padded = images.new_zeros((number, channels, height + 2 * padding, width + 2 * padding))
    padded[..., padding : padding + height, padding : padding + width] = images
    # A view of all crops, of which one an image is copied: by rows, which a gather of pixels
    # would take four times as long for.
    crops = padded.unfold(2, height, 1).unfold(3, width, 1)[torch.arange(number), :, top, left]
    crops[flipped] = crops[flipped].flip(3)
    return crops
