"""Norms and activations as what they do in evaluation: a gain, a shift, a slope for each channel.

Shapes: O channels; L levels: the norms of a dense head's towers differ by level, and take turns.
"""

from __future__ import annotations

from dataclasses import dataclass

from lowres_d2.layers.one_bit import ShiftedPReLU

import torch
from detectron2.layers import Conv2d, CycleBatchNormList, FrozenBatchNorm2d, NaiveSyncBatchNorm
from jaxtyping import Float
from torch import Tensor, nn

# A class that is made from one of these may do more: timm's norms activate.
_KNOWN = {
    norm.forward
    for norm in (nn.BatchNorm2d, nn.SyncBatchNorm, NaiveSyncBatchNorm, FrozenBatchNorm2d)
}


@dataclass(frozen=True)
class Affine:
    """``gain * x + shift``."""

    gain: Float[Tensor, "L O"]
    shift: Float[Tensor, "L O"]


def affine_of(norm: nn.Module | None, channels: int) -> Affine | None:
    """What a norm does in evaluation; None if that is not known, or depends on its input."""
    if norm is None:
        return Affine(
            torch.ones(1, channels, dtype=torch.float64),
            torch.zeros(1, channels, dtype=torch.float64),
        )
    if type(norm) is CycleBatchNormList:
        found = [affine_of(each, channels) for each in norm]
        if any(each is None for each in found):
            return None
        gain = torch.cat([each.gain for each in found])
        shift = torch.cat([each.shift for each in found])
        return _followed_by(Affine(gain, shift), norm.weight, norm.bias)
    if type(norm).forward not in _KNOWN or norm.running_var is None:
        return None
    gain = (norm.running_var.double() + norm.eps).rsqrt()
    shift = -norm.running_mean.double() * gain
    return _followed_by(Affine(gain[None], shift[None]), norm.weight, norm.bias)


def _followed_by(affine: Affine, weight: Tensor | None, bias: Tensor | None) -> Affine:
    gain, shift = affine.gain, affine.shift
    if weight is not None:
        gain, shift = gain * weight.double(), shift * weight.double()
    return Affine(gain, shift if bias is None else shift + bias.double())


def slopes_of(activation: object, channels: int) -> dict[str, Float[Tensor, " O"]] | None:
    """A PReLU's slope and the shifts around it, if any; None for another activation."""
    if activation is None:
        return {}
    if type(activation) is nn.PReLU:
        return {"slope": activation.weight.expand(channels)}
    if type(activation) is ShiftedPReLU:
        parts = {
            "slope": activation.weight,
            "shift_in": activation.shift_in,
            "offset": activation.shift_out,
        }
        return {name: part.expand(channels) for name, part in parts.items()}
    return None


@torch.no_grad()
def fold_norms(network: nn.Module) -> None:
    """Fold the batch norms of Detectron2's real-valued ``Conv2d`` into their weights, in place.

    Each layer gets weights of its own: others may share them, with other norms.
    """
    for layer in network.modules():
        if type(layer) is not Conv2d or layer.norm is None:
            continue
        affine = affine_of(layer.norm, layer.out_channels)
        if affine is None or len(affine.gain) > 1:
            continue
        gain, shift = affine.gain[0], affine.shift[0]
        if layer.bias is not None:
            shift = shift + gain * layer.bias
        old = layer.weight
        weight = old * gain[:, None, None, None]
        layer.weight = nn.Parameter(weight.to(old.dtype), requires_grad=old.requires_grad)
        layer.bias = nn.Parameter(shift.to(old.dtype), requires_grad=old.requires_grad)
        layer.norm = None
