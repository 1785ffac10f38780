"""Modules of a network replaced wherever it holds them."""

from __future__ import annotations

from collections.abc import Mapping
from operator import is_not
from typing import Any

from torch import nn


def replace_modules(network: nn.Module, new: Mapping[nn.Module, nn.Module]) -> None:
    """Put new modules in place of others, under the same names.

    A network may hold one module in several places. It may hold it in plain lists and dictionaries
    as well, as Detectron2's ``FPN`` does, which calls its convolutions through these.

    Args:
        network: it is changed; it is none of the replaced ones itself.
        new: the new module for each that goes.
    """
    for module in list(network.modules()):
        for name, child in module._modules.items():
            if child in new:
                module._modules[name] = new[child]
        for name, value in list(vars(module).items()):
            replaced = _replaced(value, new)
            if replaced is not value:
                # Not by setattr, which would make a submodule of a module that is none.
                vars(module)[name] = replaced


def _replaced(value: Any, new: Mapping[nn.Module, nn.Module]) -> Any:
    """The value itself if there is nothing to replace in it."""
    if isinstance(value, nn.Module):
        return new.get(value, value)
    if type(value) is dict:
        changed = {key: _replaced(x, new) for key, x in value.items()}
        return changed if any(x is not value[key] for key, x in changed.items()) else value
    if type(value) in (list, tuple):
        items = [_replaced(x, new) for x in value]
        return type(value)(items) if any(map(is_not, items, value)) else value
    return value
