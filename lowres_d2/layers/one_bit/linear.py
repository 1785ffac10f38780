"""A fully connected layer of -1 and +1 with -1 and +1."""

from __future__ import annotations

from typing import Any

from lowres_d2.layers.like import arguments_of, take_over
from lowres_d2.layers.one_bit.input_quantizers import Sign
from lowres_d2.layers.one_bit.weights import BinaryWeights

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class BinaryLinear(BinaryWeights, nn.Linear):
    """``nn.Linear`` in 1 bit: binarised input and weights, scale, bias.

    Args:
        args: of ``nn.Linear``.
        input_quantizer: makes -1 and +1 of the input; by default ``Sign()``.
        scale: see :class:`~lowres_d2.layers.one_bit.BinaryWeights`.
        kwargs: of ``nn.Linear``.

    Raises:
        ValueError: there is no such scale.
    """

    def __init__(
        self,
        *args: Any,
        input_quantizer: nn.Module | None = None,
        scale: str = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._set_up(input_quantizer or Sign(), scale)

    @classmethod
    def of(
        cls, layer: nn.Linear, input_quantizer: nn.Module | None = None, scale: str = "mean"
    ) -> BinaryLinear:
        """A layer in 1 bit, with the parameters of a real-valued one.

        What it has beside them is frozen if they are.

        Raises:
            ValueError: there is no such scale, or the real-valued layer has hooks.
        """
        binary = cls(**arguments_of(layer), input_quantizer=input_quantizer, scale=scale)
        return take_over(binary, layer, binary.added_parameters())

    def forward(self, x: Float[Tensor, "*any C"]) -> Float[Tensor, "*any O"]:
        """Multiply, scale, add the bias."""
        scale = self.output_scale()
        x = F.linear(self.input_quantizer(x), self._trained_signs(scale))
        x = x * scale.to(x.dtype)
        return x if self.bias is None else x + self.bias.to(x.dtype)
