"""PReLU in place of ReLU: a 1-bit layer needs inputs of both signs."""

from __future__ import annotations

from collections.abc import Sequence

from lowres_d2.modeling.one_bit.real_layers import fits, layers_by_path
from lowres_d2.modeling.one_bit.replace import replace_modules

import torch
import torch.nn.functional as F
from torch import nn

_FUNCTIONS = (F.relu, F.relu_, torch.relu, torch.relu_)


def prelu_for_relu(network: nn.Module, real_parts: Sequence[str] = ()) -> None:
    """Replace the ReLUs of a network in place, with a slope for each channel.

    These are modules, and activations of Detectron2's ``Conv2d``. A ReLU that a ``forward`` calls
    as a function stays.

    Args:
        network: it is changed.
        real_parts: patterns of modules that stay as they are, with the ReLUs in them. One that
            fits a layer alone does not keep the ReLU behind it.
    """
    modules = dict(network.named_modules(remove_duplicate=False))
    layers = layers_by_path(network)
    containers = {path for path in modules if path not in layers and _parent(path) not in layers}
    kept = {path for path in containers if fits(path, real_parts)}
    new: dict[nn.Module, nn.Module] = {}
    for path, module in modules.items():
        if path in kept:
            continue
        channels = None
        for name, child in list(module.named_children()):
            if isinstance(child, nn.ReLU) and f"{path}.{name}".lstrip(".") not in kept:
                new[child] = _prelu(channels or getattr(module, "out_channels", 1), module)
            # Of the last one in front of it, as far as that is known.
            found = (getattr(child, key, None) for key in ("out_channels", "out_features"))
            channels = next((number for number in found if number), channels)
        if any(getattr(module, "activation", None) is function for function in _FUNCTIONS):
            module.activation = _prelu(module.out_channels, module)
    replace_modules(network, new)


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _prelu(channels: int, beside: nn.Module) -> nn.PReLU:
    device = next((p.device for p in beside.parameters()), None)
    return nn.PReLU(channels, device=device).train(beside.training)
