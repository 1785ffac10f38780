"""How many channels a network's images have, and weights made for other images.

Shapes: the weight of a convolution is (O, C, k, k).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from lowres_d2.modeling.modes import in_eval_mode

import torch
from jaxtyping import Float
from torch import Tensor, nn

_COLOURS = 3


class _FirstConvolution(Exception):
    """Ends a forward pass at the first convolution."""


def input_channels(network: nn.Module, batched: bool = True) -> int | None:
    """Channels that the first convolution of a network takes; None: it has none that is found.

    Args:
        network: takes images, such as a backbone or a resampler.
        batched: whether it takes them as (N, C, H, W), or as a list of (C, H, W).
    """

    def stop(module: nn.Module, inputs: object) -> None:
        raise _FirstConvolution(module.in_channels)

    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        return None
    hooks = [module.register_forward_pre_hook(stop) for module in convolutions]
    try:
        with torch.no_grad(), in_eval_mode(network):
            side = probe_side(network)
            probe = convolutions[0].weight.new_zeros(1, 3, side, side)
            network(probe if batched else list(probe))
    except _FirstConvolution as found:
        return found.args[0]
    except Exception:  # a network of another form, which is not asked further
        return None
    finally:
        for hook in hooks:
            hook.remove()
    return None


def probe_side(network: nn.Module) -> int:
    """Side of a square image that a network can take, also where it is a resampler."""
    return max(64, math.ceil(getattr(network, "factor", 1)))  # of which a pixel is left


def refit_channels(
    model: nn.Module, weights: Mapping[str, Any], names: Iterable[str]
) -> dict[str, str]:
    """Load first convolutions whose weights were made for images of other channels.

    Every channel gets the mean of the file's, scaled by their numbers, so that images whose
    channels are all equal give the same features. So one channel gets the sum of three. Channels
    that a resampler makes beyond those of the image get zeros.

    Args:
        model: a detector or a composition.
        weights: the file's tensors or arrays, by name.
        names: tensors of the model that were not loaded.

    Returns:
        Names in the model, and in the file.
    """
    prefix = "detector." if hasattr(model, "detector") else ""
    detector = model.detector if prefix else model
    channels, own = len(getattr(detector, "pixel_mean", ())), model.state_dict()
    images = min(getattr(getattr(model, "resampler", None), "in_channels", channels), channels)
    done = {}
    for name in names:
        shape = tuple(own[name].shape)
        if not name.startswith(prefix) or len(shape) != 4 or shape[1] != channels:
            continue
        grey, colours = ((shape[0], number, *shape[2:]) for number in (1, _COLOURS))
        found = [name] if name in weights and weights[name].shape in (grey, colours) else []
        # By shape where names were matched by rules; a stem for colours is one of a kind.
        found = found or [k for k, w in weights.items() if getattr(w, "shape", None) == colours]
        if len(found) == 1 and weights[found[0]].shape != shape:
            weight = torch.as_tensor(weights[found[0]]).to(own[name])
            own[name].copy_(_refitted(weight, images, channels))
            done[name] = found[0]
    return done


def _refitted(
    weight: Float[Tensor, "O C k k"], images: int, channels: int
) -> Float[Tensor, "O other_C k k"]:
    result = weight.new_zeros(len(weight), channels, *weight.shape[2:])
    if images == weight.shape[1]:
        result[:, :images] = weight
    else:
        result[:, :images] = weight.sum(dim=1, keepdim=True) / images
    return result
