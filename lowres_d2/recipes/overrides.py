"""Strict command-line overrides: a misspelt key or a value of another type is an error.

The grammar is Hydra's, as in Detectron2. ``key=value`` changes an existing key and keeps its type;
``+key=value`` adds one. Elements of lists are ``key.0`` or ``key[0]``. In addition to Hydra's, keys
may be names of losses, ``model.loss_weights.detector/loss_*=2``, and everything behind the first
``=`` may be a path, with any characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from lowres_d2.recipes.checks import takes_argument
from lowres_d2.recipes.names import nearest_of_all, recipes_for_own_data
from lowres_d2.recipes.override_values import declared_types, fit, read_value

from omegaconf import DictConfig, ListConfig, OmegaConf

_ABSENT = object()


def apply_overrides(cfg: DictConfig, overrides: Iterable[str]) -> None:
    """Change ``cfg`` in place.

    Raises:
        KeyError: ``key=value`` for a missing key (names the nearest), or ``+key=value`` for an
            existing one.
        ValueError: not ``key=value``, or the value's type differs from the existing one's.
    """
    for text in overrides:
        name, sign, raw = text.partition("=")
        if not sign or not re.fullmatch(r"\+?[^\s+~=,]+", name):
            raise ValueError(f"override {text!r}: only key=value and +key=value are supported")
        key = plain_key(name)
        _set(cfg, key, read_value(key, raw), raw, add=name.startswith("+"))


def plain_key(name: str) -> str:
    """The key of an override: ``+a[0].b`` is ``a.0.b``."""
    return re.sub(r"\[(\d+)\]", r".\1", name).lstrip("+")


def _set(cfg: DictConfig, key: str, value: Any, raw: str, add: bool) -> None:
    holder, old = _reach(cfg, key)
    if old is not _ABSENT and add:
        raise KeyError(f"+{key}: the recipe has this key already; write {key}=... to change it")
    if old is _ABSENT and not add:
        raise KeyError(_unknown(cfg, key))
    if isinstance(old, DictConfig) and isinstance(value, dict) and "_target_" not in value:
        # Key by key, so that a misspelt key inside the dict is an error, too.
        for name, part in value.items():
            _set(cfg, f"{key}.{name}", part, str(part), add=False)
        return
    declared = declared_types(holder, key.rsplit(".", 1)[-1])
    value = fit(key, None if old is _ABSENT else old, value, raw, declared)
    OmegaConf.update(cfg, key, value, merge=False, force_add=add)


def _reach(cfg: DictConfig, key: str) -> tuple[Any, Any]:
    """The node that holds ``key``, and its value with references resolved; or ``_ABSENT``.

    Raises:
        KeyError: ``key`` passes through a reference or a plain value.
    """
    holder: Any = cfg
    parts = key.split(".")
    for depth, part in enumerate(parts[:-1], 1):
        node, above = _child(holder, part), ".".join(parts[:depth])
        if node is _ABSENT:
            return None, _ABSENT
        if node._is_interpolation():
            raise KeyError(f"{key}: {above} is {node._value()}; change what it refers to")
        if not isinstance(node, DictConfig | ListConfig):
            raise KeyError(f"{key}: {above} is the value {node._value()!r} and has no keys")
        holder = node
    there = _child(holder, parts[-1]) is not _ABSENT
    return holder, OmegaConf.select(cfg, key) if there else _ABSENT


def _child(holder: Any, name: str) -> Any:
    """The node of that name; in a list, of that index."""
    if holder._is_none():
        return _ABSENT
    if isinstance(holder, ListConfig):
        inside = name.isdecimal() and int(name) < len(holder)
        return holder._get_node(int(name)) if inside else _ABSENT
    node = holder._get_node(name)
    return _ABSENT if node is None else node


def _unknown(cfg: DictConfig, key: str) -> str:
    start = f"{key}: the recipe has no such key"
    if key.startswith("data.") and "data" not in cfg:
        return f"{start}; {recipes_for_own_data()}"
    hint = nearest_of_all(key, _flat_keys(cfg))
    return f"{start}{hint}" + (f"; +{key}=... adds it" if _would_be_read(cfg, key) else "")


def _would_be_read(cfg: DictConfig, key: str) -> bool:
    """Whether a call takes ``key``, or a dict in a call's arguments."""
    holder: Any = cfg
    for part in key.split("."):
        node = _child(holder, part)
        if not isinstance(node, DictConfig | ListConfig) or node._is_interpolation():
            if isinstance(holder, DictConfig) and "_target_" in holder:
                return takes_argument(holder, part)
            return isinstance(holder, DictConfig) and is_in_a_call(holder)
        holder = node
    return False


def is_in_a_call(node: Any) -> bool:
    """Whether a node is a call, or lies in the arguments of one."""
    while node is not None:
        if isinstance(node, DictConfig) and "_target_" in node:
            return True
        node = node._get_parent()
    return False


def _flat_keys(node: Any, prefix: str = "") -> Iterator[str]:
    """Keys below a node; keys inside lists contain the index."""
    if not isinstance(node, DictConfig | ListConfig) or node._is_none() or node._is_interpolation():
        return
    for key in node.keys() if isinstance(node, DictConfig) else range(len(node)):
        if key != "_target_":
            if isinstance(node, DictConfig):
                yield f"{prefix}{key}"
            yield from _flat_keys(node._get_node(key), f"{prefix}{key}.")


def value_keys(cfg: DictConfig) -> Iterator[str]:
    """Keys of the values that an override can change; not of what contains others."""
    keys = [*_flat_keys(cfg)]
    containers = {key.rpartition(".")[0] for key in keys}
    for key in keys:
        holder, value = _reach(cfg, key)
        is_reference = holder._get_node(key.rpartition(".")[2])._is_interpolation()
        if key not in containers and not is_reference and not isinstance(value, DictConfig):
            yield key
