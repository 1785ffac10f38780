"""How many channels a network's images have, and weights made for other images.

Shapes: the weight of a convolution is (O, C, k, k).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

_COLOURS = (1, 3)  # channels that published weights are made for


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
        with torch.no_grad():
            probe = convolutions[0].weight.new_zeros(1, 3, 64, 64)
            network(probe if batched else list(probe))
    except _FirstConvolution as found:
        return found.args[0]
    except Exception:  # a network of another form, which is not asked further
        return None
    finally:
        for hook in hooks:
            hook.remove()
    return None


def refit_channels(
    model: nn.Module, weights: Mapping[str, Any], misshapen: Sequence[tuple[str, Any, Any]]
) -> dict[str, str]:
    """Load first convolutions whose weights were made for images of other channels.

    Every channel gets the mean of the file's, scaled by their numbers, so that images whose
    channels are all equal give the same features. So one channel gets the sum of three. Channels
    that a resampler makes beyond those of the image get zeros.

    Args:
        model: a detector or a composition.
        weights: the file's tensors or arrays.
        misshapen: name in the model, shape in the file and shape in the model.

    Returns:
        What was done, by name in the model.
    """
    detector = getattr(model, "detector", model)
    channels, own = len(getattr(detector, "pixel_mean", ())), model.state_dict()
    images = getattr(getattr(model, "resampler", None), "in_channels", channels)
    done = {}
    for name, of_file, of_model in misshapen:
        stem = len(of_file) == 4 and len(of_model) == 4 and of_model[1] == channels
        same = stem and (of_file[0], *of_file[2:]) == (of_model[0], *of_model[2:])
        # Names may have been matched by rules; the shape of a stem is one of a kind.
        found = [w for w in weights.values() if tuple(w.shape) == tuple(of_file)]
        if not same or of_file[1] not in _COLOURS or len(found) != 1:
            continue
        weight = torch.as_tensor(found[0]).to(own[name])
        own[name].copy_(_refitted(weight, min(images, channels), channels))
        done[name] = f"{name} from {of_file[1]} to {channels}"
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
