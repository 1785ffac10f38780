"""Convolution with norm and activation; tensor helpers that survive empty inputs and tracing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, List, Optional  # noqa: UP035 (TorchScript evaluates them)

import torch
from torch import Tensor
from torch.nn import functional as F

# Kept under these names for code that imports them from here; torch takes empty batches itself.
BatchNorm2d = torch.nn.BatchNorm2d
ConvTranspose2d = torch.nn.ConvTranspose2d
Linear = torch.nn.Linear
interpolate = F.interpolate


def shapes_to_tensor(x: List[int], device: Optional[torch.device] = None) -> Tensor:  # noqa: UP006, UP045
    """Integers as a 1-D tensor; while tracing, sizes stay part of the graph.

    Args:
        x: integers, or scalar tensors while tracing.
        device: where the result should be.
    """
    if torch.jit.is_scripting():
        return torch.as_tensor(x, device=device)
    if torch.jit.is_tracing():
        # as_tensor would freeze traced sizes into constants.
        return torch.stack([torch.as_tensor(size, device=device) for size in x])
    return torch.as_tensor(x, device=device)


def check_if_dynamo_compiling() -> bool:
    """Whether `torch.compile` is tracing the caller."""
    return torch.compiler.is_compiling()


def cat(tensors: List[Tensor], dim: int = 0) -> Tensor:  # noqa: UP006
    """`torch.cat` that returns a single tensor as it is, without a copy."""
    if len(tensors) == 1:
        return tensors[0]
    return torch.cat(tensors, dim)


def empty_input_loss_func_wrapper(loss_func: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Make the mean of a loss over no elements a zero with gradient, in place of NaN."""

    def loss_of_maybe_nothing(
        input: Tensor, target: Tensor, *, reduction: str = "mean", **kwargs: Any
    ) -> Tensor:
        if reduction == "mean" and target.numel() == 0:
            return input.sum() * 0.0
        return loss_func(input, target, reduction=reduction, **kwargs)

    return loss_of_maybe_nothing


cross_entropy = empty_input_loss_func_wrapper(F.cross_entropy)


class Conv2d(torch.nn.Conv2d):
    """`torch.nn.Conv2d` followed by an optional norm and an optional activation."""

    def __init__(self, *args: Any, **kwargs: Any):
        """Take the arguments of `torch.nn.Conv2d` and two more, by keyword.

        Args:
            *args: of `torch.nn.Conv2d`.
            **kwargs: of `torch.nn.Conv2d`; `norm` (a module) and `activation` (a callable).
        """
        norm = kwargs.pop("norm", None)
        activation = kwargs.pop("activation", None)
        super().__init__(*args, **kwargs)
        self.norm = norm
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W), normalise, activate."""
        x = self._conv_forward(x, self.weight, self.bias)
        if self.norm is not None:
            x = self.norm(x)
        if self.activation is not None:
            x = self.activation(x)
        return x


def nonzero_tuple(x: Tensor) -> Any:
    """`x.nonzero(as_tuple=True)`, also under TorchScript; a 0-dimensional `x` counts as (1,)."""
    if torch.jit.is_scripting():
        return (x.unsqueeze(0) if x.dim() == 0 else x).nonzero().unbind(1)
    return x.nonzero(as_tuple=True)


def move_device_like(src: Tensor, dst: Tensor) -> Tensor:
    """`src` on the device of `dst`."""
    return src.to(dst.device)
