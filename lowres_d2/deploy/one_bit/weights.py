"""Signs of weights as bits, in the order in which the C core reads them.

Shapes: O outputs of C channels, in blocks of 64: ``core/one_bit.h``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lowres_d2.deploy.one_bit.bits import pack_words, pair, unpack_words, words_of

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32
from torch import Tensor

GROUP, BLOCK = 16, 64  # outputs


@dataclass(frozen=True)
class PackedWeights:
    """Signs of a convolution's weights, for one padding; of +1 where a weight is 0 or more.

    Attributes:
        words: blocks of outputs, one after the other; in each, for each word of the window, the
            words of all its outputs.
        offsets: what a popcount becomes a product with, for each way in which a window can leave
            the image: ``product = offset - 2 count``.
        shape: outputs, channels, kernel rows, kernel columns.
        padding: rows and columns.
    """

    words: Int32[Tensor, " words"]
    offsets: Int32[Tensor, "top bottom left right padded_outputs"]
    shape: tuple[int, int, int, int]
    padding: tuple[int, int]
    _signs: list[Float[Tensor, "O C kernel_h kernel_w"]] = field(
        default_factory=list, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Compare words and offsets with the shape.

        Raises:
            ValueError: they do not fit each other.
        """
        outputs, channels, *kernel = self.shape
        padded = -(-outputs // GROUP) * GROUP
        expected = {
            "words": (padded * kernel[0] * kernel[1] * words_of(channels),),
            "offsets": (*(p + 1 for p in self.padding for _ in range(2)), padded),
        }
        for name, shape in expected.items():
            x = getattr(self, name)
            if x.shape != shape or x.dtype != torch.int32 or not (x.is_cpu and x.is_contiguous()):
                raise ValueError(
                    f"{name} of packed weights of shape {self.shape}: expected contiguous int32 of "
                    f"shape {shape} on the CPU, got {x.dtype} of {tuple(x.shape)} on {x.device}"
                )

    @classmethod
    def pack(
        cls,
        weights: Float[Tensor, "O C kernel_h kernel_w"],
        padding: int | tuple[int, int] = 0,
    ) -> PackedWeights:
        """Pack the signs of weights.

        Raises:
            ValueError: the padding is as large as the kernel, so that windows would see nothing.
        """
        outputs, channels, *kernel = weights.shape
        padding = pair(padding)
        if padding[0] >= kernel[0] or padding[1] >= kernel[1]:
            raise ValueError(f"padding {padding} of a kernel of {tuple(kernel)}: expected less")
        ones = weights.detach().cpu() >= 0
        ones = F.pad(ones, (0, 0, 0, 0, 0, 0, 0, -outputs % GROUP))
        rows = pack_words(ones.permute(0, 2, 3, 1)).flatten(1)
        words = torch.cat([block.T.flatten() for block in rows.split(BLOCK)])
        offsets = _offsets(ones.sum(1), channels, padding)
        return cls(words, offsets, (outputs, channels, *kernel), padding)

    def signs(self) -> Float[Tensor, "O C kernel_h kernel_w"]:
        """+1 and -1 as numbers; kept, since who asks for them once asks for each image."""
        if not self._signs:
            outputs, channels, *kernel = self.shape
            window = kernel[0] * kernel[1] * words_of(channels)
            rows = [block.view(window, -1).T for block in self.words.split(BLOCK * window)]
            words = torch.cat(rows)[:outputs].unflatten(1, (*kernel, -1))
            self._signs.append(unpack_words(words, channels).permute(0, 3, 1, 2).contiguous())
        return self._signs[0]


def _offsets(
    ones: Tensor, channels: int, padding: tuple[int, int]
) -> Int32[Tensor, "top bottom left right padded_outputs"]:
    """Of the ones of each output and place of the window."""
    rows, columns = map(_inside, ones.shape[1:], padding)
    within = torch.einsum("tby,lrx,oyx->tblro", rows, columns, ones.double())
    places = torch.einsum("tby,lrx->tblr", rows, columns).unsqueeze(-1)
    return (channels * places + 2 * (ones.sum((1, 2)) - within)).to(torch.int32)


def _inside(size: int, padding: int) -> Float[Tensor, "before behind kernel"]:
    """1 for each row of a window that is in the image, of which so many lie before and behind."""
    place, outside = torch.arange(size), torch.arange(padding + 1)
    before, behind = outside.view(-1, 1, 1), outside.view(-1, 1)
    return ((place >= before) & (place < size - behind)).double()
