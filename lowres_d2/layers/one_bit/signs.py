"""The sign function, with a gradient to train through.

Its derivative is 0 almost everywhere; a straight-through estimator takes that of a smoother
function in its place: the identity between -1 and 1 (Courbariaux et al., "Binarized Neural
Networks", 2016), or a piecewise polynomial that is closer to the sign (Liu et al., "Bi-Real Net",
ECCV 2018, Eq. 7).

One bit has no third value, so the sign of 0 is +1, and of -0.0. DFR-Det (Xu et al., ICML 2024) says
-1 below its Eq. 2; nothing else depends on it.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

GRADIENTS = ("clip", "polynomial")


def sign(x: Float[Tensor, "*any"], gradient: str = "clip") -> Float[Tensor, "*any"]:
    """-1 where x < 0, else +1; -1 of NaN, which no comparison fits.

    Args:
        x: any values.
        gradient: what stands in for the derivative: ``clip``, 1 for |x| <= 1; ``polynomial``,
            2 - 2 |x| there; both are 0 elsewhere.

    Raises:
        ValueError: there is no such gradient.
    """
    check_gradient(gradient)
    return _StraightThroughSign.apply(x, gradient == "polynomial")


def check_gradient(gradient: str) -> None:
    """Raise if there is no such gradient.

    Raises:
        ValueError: names those that there are.
    """
    if gradient not in GRADIENTS:
        raise ValueError(f"gradient={gradient!r}: expected one of {', '.join(GRADIENTS)}")


def plus_or_minus_one(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The sign without a gradient."""
    # In place, on floats: CPUs take several times as long to turn booleans into numbers.
    return x.detach().clone().ge_(0).mul_(2).sub_(1)


class _StraightThroughSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, polynomial: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.polynomial = polynomial
        return plus_or_minus_one(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        size = x.abs()
        slope = size.mul_(-2).add_(2).relu_() if ctx.polynomial else size.le_(1)
        return slope.mul_(gradient), None
