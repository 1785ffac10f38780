"""A fully connected layer of -1 and +1 with -1 and +1."""

from __future__ import annotations

from lowres_d2.layers.one_bit.weights import BinaryWeights

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class BinaryLinear(BinaryWeights, nn.Linear):
    """``nn.Linear`` in 1 bit: binarised input and weights, scale, bias.

    Args:
        args: of ``nn.Linear``.
        input_quantizer: as of :class:`~lowres_d2.layers.one_bit.BinaryWeights`.
        scale: likewise.
        kwargs: of ``nn.Linear``.

    Raises:
        ValueError: there is no such scale.
    """

    def forward(self, x: Float[Tensor, "*any C"]) -> Float[Tensor, "*any O"]:
        """Multiply, scale, add the bias."""
        scale = self.output_scale()
        x = F.linear(self.input_quantizer(x), self._trained_signs(scale))
        x = x * scale.to(x.dtype)
        return x if self.bias is None else x + self.bias.to(x.dtype)
