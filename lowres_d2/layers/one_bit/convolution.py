"""A convolution of -1 and +1 with -1 and +1."""

from __future__ import annotations

from typing import Any

from lowres_d2.layers.like import arguments_of, take_over
from lowres_d2.layers.one_bit.input_quantizers import Sign
from lowres_d2.layers.one_bit.weights import BinaryWeights

from detectron2.layers import Conv2d
from jaxtyping import Float
from torch import Tensor, nn


class BinaryConv2d(BinaryWeights, Conv2d):
    """Detectron2's ``Conv2d`` in 1 bit: binarised input and weights, scale, bias, norm, activation.

    Zero padding adds zeros to the binarised input: a padded cell counts neither way.

    Args:
        args: of Detectron2's ``Conv2d``.
        input_quantizer: makes -1 and +1 of the input; by default ``Sign()``.
        scale: see :class:`~lowres_d2.layers.one_bit.BinaryWeights`.
        kwargs: of Detectron2's ``Conv2d``, with ``norm`` and ``activation``.

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
        cls, layer: nn.Conv2d, input_quantizer: nn.Module | None = None, scale: str = "mean"
    ) -> BinaryConv2d:
        """A convolution in 1 bit, with the parameters, norm and activation of a real-valued one.

        What it has beside them is frozen if they are.

        Raises:
            ValueError: there is no such scale, or the real-valued layer has hooks.
        """
        binary = cls(**arguments_of(layer), input_quantizer=input_quantizer, scale=scale)
        return take_over(binary, layer, binary.added_parameters())

    def forward(self, x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N O out_h out_w"]:
        """Convolve, scale, add the bias, normalise, activate."""
        scale = self.output_scale()
        x = self._conv_forward(self.input_quantizer(x), self._trained_signs(scale), None)
        x = x * scale.to(x.dtype)[:, None, None]
        if self.bias is not None:
            x = x + self.bias.to(x.dtype)[:, None, None]
        if self.norm is not None:
            x = self.norm(x)
        if self.activation is not None:
            x = self.activation(x)
        return x
