"""PReLU in place of ReLU: a 1-bit layer needs inputs of both signs. And shifts around PReLUs."""

from __future__ import annotations

from collections.abc import Sequence

from lowres_d2.layers.one_bit import ShiftedPReLU
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
    kept = _kept(network, real_parts)
    new: dict[nn.Module, nn.Module] = {}
    for path, module in list(network.named_modules(remove_duplicate=False)):
        if path in kept:
            continue
        # Of the last one in front of it, as far as that is known.
        channels, front = None, module
        for name, child in list(module.named_children()):
            if isinstance(child, nn.ReLU) and f"{path}.{name}".lstrip(".") not in kept:
                new[child] = _prelu(channels or getattr(module, "out_channels", 1), front)
            found = (getattr(child, key, None) for key in ("out_channels", "out_features"))
            channels = next((number for number in found if number), channels)
            front = child if any(True for _ in child.parameters()) else front
        if any(getattr(module, "activation", None) is function for function in _FUNCTIONS):
            # Of others than convolutions, channels may be in another axis than the second one.
            module.activation = _prelu(getattr(module, "out_channels", 1), module)
    replace_modules(network, new)


def shift_prelus(network: nn.Module, real_parts: Sequence[str] = ()) -> None:
    """Replace the PReLUs of a network in place by ``ShiftedPReLU``s, which at first do the same.

    Args:
        network: it is changed.
        real_parts: as for :func:`prelu_for_relu`.
    """
    kept = _kept(network, real_parts)
    prelus = {
        module
        for path, module in network.named_modules(remove_duplicate=False)
        if isinstance(module, nn.PReLU) and path not in kept
    }
    replace_modules(network, {prelu: _shifted(prelu) for prelu in prelus})


def _shifted(prelu: nn.PReLU) -> ShiftedPReLU:
    shifted = ShiftedPReLU(prelu.num_parameters).to(prelu.weight.device)
    shifted.requires_grad_(prelu.weight.requires_grad).weight = prelu.weight
    return shifted.train(prelu.training)


def _kept(network: nn.Module, real_parts: Sequence[str]) -> set[str]:
    """Paths of what is in real-valued modules other than layers."""
    layers = layers_by_path(network)
    paths = [path for path, _ in network.named_modules(remove_duplicate=False)]
    outside = (path for path in paths if path not in layers and _parent(path) not in layers)
    return {path for path in outside if fits(path, real_parts)}


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _prelu(channels: int, beside: nn.Module) -> nn.PReLU:
    """A PReLU beside a module: on its device, in its mode, frozen if it is."""
    parameters = list(beside.parameters())
    prelu = nn.PReLU(channels, device=parameters[0].device if parameters else None)
    prelu.requires_grad_(not parameters or any(p.requires_grad for p in parameters))
    return prelu.train(beside.training)
