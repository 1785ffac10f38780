"""Learned step size quantization: Esser et al., "LSQ" (ICLR 2020).

A value is rounded to the nearest multiple of a step, of those that k bits can tell apart: from
-2^(k-1) to 2^(k-1) - 1 steps, or from 0 to 2^k - 1 where no value is negative. The step is trained.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed
from detectron2.utils import comm
from jaxtyping import Float
from torch import Tensor, nn

_SMALLEST_GAIN = 1e-3


def quantized(
    x: Float[Tensor, "*any"],
    step: Float[Tensor, ""],
    lowest: int,
    highest: int,
    share: float | Float[Tensor, ""] = 1.0,
) -> Float[Tensor, "*any"]:
    """Values rounded to multiples of a step (Eq. 1, 2).

    The gradient passes to values within the range. To the step it is, for each value, the rounding
    error in steps, or outside of the range its end (Eq. 3).

    Args:
        x: the values.
        step: positive.
        lowest: smallest multiple.
        highest: largest multiple.
        share: factor of the step's gradient, Sec. 2.2.
    """
    return _Rounded.apply(x, step, lowest, highest, share)


class LearnedStep(nn.Module):
    """Quantizes to k bits; the step starts from the first values in training (Sec. 2.1).

    Which range these need is decided then, too: with negative values, unless ``signed`` says so
    from the beginning, or without. In evaluation before any training the values given take the
    place of the first ones.

    What is trained is the step's gain over its first size. Its gradient is such that SGD changes
    the step as the paper's does; Adam, whose changes do not depend on the gradient's size, changes
    it by a share of it, where a step smaller than the learning rate would not survive.

    Args:
        bits: k, 2 or more.
        signed: there are negative values; None: the first values tell.
        per_image: the first axis is of images, the step's gradient does not count their number.

    Attributes:
        first_step: the step's first size, 0 until it starts.
        gain: the step over that.
        has_negative: whether there are negative values, once it has started.

    Raises:
        ValueError: there are fewer bits.
    """

    def __init__(self, bits: int, signed: bool | None = None, per_image: bool = True) -> None:
        super().__init__()
        if bits < 2:
            raise ValueError(f"bits={bits}: expected 2 or more; 1 is a sign")
        self.bits = bits
        self.signed = signed
        self.per_image = per_image
        self.gain = nn.Parameter(torch.ones(()))
        self.register_buffer("first_step", torch.zeros(()))
        self.register_buffer("has_negative", torch.tensor(bool(signed)))
        # Whether the step has started, and has_negative then: asking the tensors in each iteration
        # would make the host wait for the device.
        self._known: bool | None = None
        self.register_load_state_dict_post_hook(_forget)

    @property
    def step(self) -> Float[Tensor, ""]:
        """The step's size, 0 until it starts."""
        return self.first_step * self.gain.abs().clamp(min=_SMALLEST_GAIN)

    def forward(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """The nearest values of k bits."""
        first, signed = self.first_step, self._known
        if signed is None:
            if not first:
                first, signed = self._first(x.detach())
                if not first:  # no values, or zeros
                    return x
                if self.training:
                    self.first_step.copy_(first)
                    self.has_negative.fill_(signed)
            if self.first_step:
                signed = self._known = bool(self.has_negative)
        if not x.numel():
            return x
        lowest, highest = self._range(signed)
        values = x[0].numel() if self.per_image else x.numel()
        # 1 / first twice: by the gain, the step's derivative is `first`, and 1 / first is wanted.
        share = 1 / (math.sqrt(values * highest) * first.square())
        step = first * self.gain.abs().clamp(min=_SMALLEST_GAIN)
        return quantized(x, step, lowest, highest, share)

    def extra_repr(self) -> str:
        """Bits, for ``print``."""
        return f"bits={self.bits}"

    def _range(self, signed: bool) -> tuple[int, int]:
        half = 2 ** (self.bits - 1)
        return (-half, half - 1) if signed else (0, 2 * half - 1)

    def _first(self, x: Tensor) -> tuple[Tensor, bool]:
        """Step and whether there are negative values, in training the same in all processes.

        The step is 0 where there are no values, or zeros alone.
        """
        x = x.float()
        total, negative = x.abs().sum(), (x < 0).sum()
        sums = torch.stack([total, total.new_tensor(x.numel()), negative.to(total)])
        if self.training and comm.get_world_size() > 1:
            torch.distributed.all_reduce(sums)
        total, count, negative = sums
        signed = bool(negative) if self.signed is None else self.signed
        return 2 * total / count.clamp(min=1) / math.sqrt(self._range(signed)[1]), signed


def _forget(module: LearnedStep, _: Any) -> None:
    module._known = None


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, step: Tensor, lowest: int, highest: int, share: float
    ) -> Tensor:
        ctx.save_for_backward(x, step)
        ctx.range = lowest, highest, share
        step = step.to(x.dtype)
        return (x / step).clamp_(lowest, highest).round_() * step

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, step = ctx.saved_tensors
        lowest, highest, share = ctx.range
        steps = x / step.to(x.dtype)
        inside = (steps >= lowest) & (steps <= highest)
        near = steps.clamp(lowest, highest).round()
        of_step = torch.where(inside, near - steps, near)  # Eq. 3
        # A sum of many halves would lose most of them.
        total = (gradient * of_step).to(step.dtype).sum() * share
        return gradient * inside, total, None, None, None
