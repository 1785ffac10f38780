"""What 1-bit layers share: weights of -1 and +1, and a positive scale for each output channel.

Source: Eq. 2 of DFR-Det (Xu et al., ICML 2024), after Rastegari et al., "XNOR-Net" (ECCV 2016):
output = scale * (sign of input, with sign of weights). The real-valued weights are what is trained
and stored; they have the names of the real-valued layer, whose weights load.

Shapes: O output channels; ``*in`` is (C, kh, kw) of a convolution, (C) of a linear layer.
"""

from __future__ import annotations

from typing import Any

from lowres_d2.layers.like import arguments_of, take_over
from lowres_d2.layers.one_bit.input_quantizers import Sign
from lowres_d2.layers.one_bit.signs import plus_or_minus_one

import torch
from jaxtyping import Float
from torch import Tensor, nn

SCALES = ("mean", "learned")
# Positive, also for a channel whose weights are all 0.
_SMALLEST_SCALE = 1e-12


class BinaryWeights(nn.Module):
    """Base of the 1-bit layers, before the real-valued one.

    Args:
        args: of the real-valued layer.
        input_quantizer: makes -1 and +1 of the input; by default ``Sign()``.
        scale: see below.
        kwargs: of the real-valued layer.

    Attributes:
        weight: the real-valued weights.
        input_quantizer: makes -1 and +1 of the input.
        scale: ``mean``: the mean of |w| over an output channel, which minimises Eq. 3; ``learned``:
            that, times the exponential of a parameter ``log_gain`` that starts at 0. So the scale
            is positive, and weight decay draws it towards the mean.

    Raises:
        ValueError: there is no such scale.
    """

    weight: Float[Tensor, "O *in"]
    input_quantizer: nn.Module
    scale: str

    def __init__(
        self,
        *args: Any,
        input_quantizer: nn.Module | None = None,
        scale: str = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if scale not in SCALES:
            raise ValueError(f"scale={scale!r}: expected one of {', '.join(SCALES)}")
        self.input_quantizer = input_quantizer or Sign()
        self.scale = scale
        if scale == "learned":
            self.log_gain = nn.Parameter(self.weight.new_zeros(len(self.weight)))

    @classmethod
    def of(
        cls,
        layer: nn.Conv2d | nn.Linear,
        input_quantizer: nn.Module | None = None,
        scale: str = "mean",
    ) -> Any:
        """A layer in 1 bit, with what a real-valued one has: parameters, norm and activation.

        What it has beside them is frozen if they are.

        Raises:
            ValueError: there is no such scale, or the real-valued layer has hooks.
        """
        binary = cls(**arguments_of(layer), input_quantizer=input_quantizer, scale=scale)
        return take_over(binary, layer, binary.added_parameters())

    def added_parameters(self) -> list[nn.Parameter]:
        """Those that the real-valued layer has not."""
        gain = [self.log_gain] if self.scale == "learned" else []
        return [*gain, *self.input_quantizer.parameters()]

    def binary_weight(self) -> Float[Tensor, "O *in"]:
        """The signs of the weights, -1 and +1, without a gradient."""
        return plus_or_minus_one(self.weight.detach())

    def output_scale(self) -> Float[Tensor, " O"]:
        """The positive scale of each output channel; its gradient reaches ``log_gain`` alone."""
        mean = self.weight.detach().flatten(1).abs().mean(dim=1).clamp(min=_SMALLEST_SCALE)
        return mean * self.log_gain.exp() if self.scale == "learned" else mean

    def extra_repr(self) -> str:
        """As of the real-valued layer, with the scale."""
        return f"{super().extra_repr()}, scale={self.scale}"

    def _trained_signs(self, scale: Float[Tensor, " O"]) -> Float[Tensor, "O *in"]:
        return _StraightThroughWeights.apply(self.weight, scale.detach())


class _StraightThroughWeights(torch.autograd.Function):
    """Signs of weights whose gradient is that of scale * sign for |w| <= 1, else 0.

    The layer computes with signs alone and scales its output, so that it is exactly what bit counts
    give. What stands in for w is scale * sign, though, of the same size as w: its gradient is
    taken for that of w, where that of the sign alone is smaller by the scale.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(weight, scale)
        return plus_or_minus_one(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        weight, scale = ctx.saved_tensors
        scale = scale.view(-1, *[1] * (weight.dim() - 1))
        return weight.abs().le_(1).mul_(gradient).div_(scale), None
