"""Modules of a network replaced wherever it holds them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


def replace_modules(network: nn.Module, new: Mapping[nn.Module, nn.Module]) -> None:
    """Put new modules in place of others, under the same names.

    A network may hold one module in several places. It may hold it in plain lists as well, as
    Detectron2's ``FPN`` does, which calls its convolutions through these.

    Args:
        network: it is changed; it is none of the replaced ones itself.
        new: the new module for each that goes.
    """
    for module in list(network.modules()):
        for name, child in module._modules.items():
            if child in new:
                module._modules[name] = new[child]
        for name, value in vars(module).items():
            if isinstance(value, list | tuple) and any(_is_replaced(x, new) for x in value):
                kept = (new[x] if _is_replaced(x, new) else x for x in value)
                setattr(module, name, type(value)(kept))


def _is_replaced(value: object, new: Mapping[nn.Module, nn.Module]) -> bool:
    return isinstance(value, nn.Module) and value in new
