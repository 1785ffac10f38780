"""Signs of activations as bits.

Shapes: N images of C channels and h x w cells. A bit is 1 where the sign is +1. Layout:
``core/one_bit.h``.
"""

from __future__ import annotations

from dataclasses import dataclass

from lowres_d2.deploy.one_bit import binding
from lowres_d2.deploy.one_bit.memory import new_map
from lowres_d2.deploy.one_bit.paths import path_for

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int32
from torch import Tensor

WORD = 32  # bits


def words_of(channels: int) -> int:
    """Words that the bits of so many channels take."""
    return -(-channels // WORD)


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """Of rows and of columns."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def pack_words(ones: Bool[Tensor, "*any C"]) -> Int32[Tensor, "*any words"]:
    """Words of the last axis, whose rest is 0."""
    channels = ones.shape[-1]
    padded = F.pad(ones, (0, words_of(channels) * WORD - channels)).unflatten(-1, (-1, WORD))
    # Bit 31 alone is negative: no sum leaves the range of int32.
    worth = torch.ones((), dtype=torch.int32) << torch.arange(WORD, dtype=torch.int32)
    return (padded * worth.to(ones.device)).sum(-1, dtype=torch.int32)


def unpack_words(words: Int32[Tensor, "*any words"], channels: int) -> Float[Tensor, "*any C"]:
    """Signs of the bits, +1 and -1."""
    places = torch.arange(WORD, dtype=torch.int32, device=words.device)
    bits = (words.unsqueeze(-1) >> places & 1).flatten(-2)[..., :channels]
    return bits.float() * 2 - 1


@dataclass(frozen=True)
class PackedBits:
    """Signs of a feature map, with a border in which there are none.

    Attributes:
        words: 32 channels each; in the border, and beyond the last channel, their bits are 0.
        channels: of the feature map.
        border: rows above and below, columns left and right of each image.
    """

    words: Int32[Tensor, "N padded_h padded_w words"]
    channels: int
    border: tuple[int, int]

    def __post_init__(self) -> None:
        """Compare the words with the channels.

        Raises:
            ValueError: they do not fit each other.
        """
        number, words = words_of(self.channels), self.words
        if words.shape[3] != number or words.dtype is not torch.int32 or not words.is_contiguous():
            found = f"{words.dtype} of shape {tuple(words.shape)}"
            raise ValueError(
                f"bits of {self.channels} channels: expected contiguous int32, {number} in the "
                f"last axis, got {found}"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width without the border."""
        (height, width), (rows, columns) = self.words.shape[1:3], self.border
        return height - 2 * rows, width - 2 * columns

    def signs(self) -> Float[Tensor, "N C h w"]:
        """+1 and -1 as numbers, without the border."""
        (height, width), (rows, columns) = self.size, self.border
        words = self.words[:, rows : rows + height, columns : columns + width]
        return unpack_words(words, self.channels).permute(0, 3, 1, 2)


def pack_bits(
    x: Float[Tensor, "N C h w"],
    thresholds: Float[Tensor, " thresholds"] | None = None,
    padding: int | tuple[int, int] = 0,
) -> PackedBits:
    """The bits ``x >= thresholds`` of each channel, in a border for a convolution's padding.

    Args:
        x: in either memory format; on a CPU channels last takes less time.
        thresholds: of each channel; 0 without it. ``nan`` and what is compared with it give 0.
        padding: rows and columns of the border.

    Raises:
        ValueError: there are not as many thresholds as channels.
    """
    path = path_for(x)
    x = x.float()
    border = pair(padding)
    if thresholds is not None and thresholds.shape != (x.shape[1],):
        shape = tuple(thresholds.shape)
        raise ValueError(f"thresholds: expected {x.shape[1]} numbers, got shape {shape}")
    if path == "torch":
        ones = x >= (0 if thresholds is None else thresholds.view(-1, 1, 1))
        words = pack_words(ones.permute(0, 2, 3, 1))
        (rows, columns) = border
        words = F.pad(words, (0, 0, columns, columns, rows, rows))
        return PackedBits(words, x.shape[1], border)
    (number, channels, height, width), (rows, columns) = x.shape, border
    channels_last = x.is_contiguous(memory_format=torch.channels_last)
    if not channels_last:
        x = x.contiguous()
    if thresholds is not None:
        thresholds = binding.vector(thresholds, channels, "thresholds")
    size = number, height + 2 * rows, width + 2 * columns, words_of(channels)
    words = new_map(*size, dtype=torch.int32)
    binding.pack(
        path,
        images=number,
        channels=channels,
        height=height,
        width=width,
        border_y=rows,
        border_x=columns,
        channels_last=channels_last,
        x=x,
        thresholds=thresholds,
        bits=words,
    )
    return PackedBits(words, channels, border)
