"""Convolutions and fully connected layers of k bits: LSQ (Esser et al., ICLR 2020).

The real-valued weights are trained and stored under the names of the real-valued layer.
"""

from __future__ import annotations

from typing import Any

from lowres_d2.layers.k_bit.learned_step import LearnedStep
from lowres_d2.layers.like import arguments_of, take_over

import torch.nn.functional as F
from detectron2.layers import Conv2d
from jaxtyping import Float
from torch import Tensor, nn


class KBitWeights(nn.Module):
    """Base of the layers of k bits, before the real-valued one.

    Args:
        args: of the real-valued layer.
        bits: 2 or more.
        kwargs: of the real-valued layer.

    Attributes:
        bits: k, of weights and inputs.
        weight_quantizer: a step for all weights of the layer.
        input_quantizer: a step for all inputs.

    Raises:
        ValueError: there are fewer bits.
    """

    bits: int

    def __init__(self, *args: Any, bits: int = 4, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bits = bits
        self.weight_quantizer = LearnedStep(bits, signed=True, per_image=False)
        self.input_quantizer = LearnedStep(bits)

    @classmethod
    def of(cls, layer: nn.Conv2d | nn.Linear, bits: int = 4) -> Any:
        """A layer of k bits, with what a real-valued one has: parameters, norm, activation, mode.

        Frozen if its weights are.
        """
        made = cls(**arguments_of(layer), bits=bits)
        quantizers = (made.weight_quantizer, made.input_quantizer)
        take_over(made, layer, (q.gain for q in quantizers))
        made.to(layer.weight.device)
        for quantizer in quantizers:
            quantizer.training = layer.training
        return made


class KBitConv2d(KBitWeights, Conv2d):
    """Detectron2's ``Conv2d`` with weights and input of k bits.

    Args:
        args: of Detectron2's ``Conv2d``.
        bits: 2 or more.
        kwargs: of Detectron2's ``Conv2d``, with ``norm`` and ``activation``.

    Raises:
        ValueError: there are fewer bits.
    """

    def forward(self, x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N O out_h out_w"]:
        """Convolve, add the bias, normalise, activate."""
        weight = self.weight_quantizer(self.weight)
        x = self._conv_forward(self.input_quantizer(x), weight, self.bias)
        if self.norm is not None:
            x = self.norm(x)
        if self.activation is not None:
            x = self.activation(x)
        return x


class KBitLinear(KBitWeights, nn.Linear):
    """``nn.Linear`` with weights and input of k bits.

    Args:
        args: of ``nn.Linear``.
        bits: 2 or more.
        kwargs: of ``nn.Linear``.

    Raises:
        ValueError: there are fewer bits.
    """

    def forward(self, x: Float[Tensor, "*any C"]) -> Float[Tensor, "*any O"]:
        """Multiply, add the bias."""
        return F.linear(self.input_quantizer(x), self.weight_quantizer(self.weight), self.bias)
