"""Strict command-line overrides: a misspelt key or a value of another type is an error.

Grammar: Hydra's, as Detectron2 has it. ``key=value`` changes a key that exists and keeps its type;
``+key=value`` adds one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf


def apply_overrides(cfg: DictConfig, overrides: Iterable[str]) -> None:
    """Change ``cfg`` in place.

    Raises:
        KeyError: ``key=value`` for a key that is not there (with the nearest), or ``+key=value``
            for one that is.
        ValueError: not ``key=value``, or the value's type is not the one that stands there.
    """
    parser = OverridesParser.create()
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            raise ValueError(f"override {text!r}: expected key=value or +key=value") from error
        if override.is_delete() or override.is_force_add():
            raise ValueError(f"override {text!r}: only key=value and +key=value are understood")
        key, value = override.key_or_group, override.value()
        _set(cfg, key, value, add=override.is_add())


def _set(cfg: DictConfig, key: str, value: Any, add: bool) -> None:
    exists = _exists(cfg, key)
    if exists and add:
        raise KeyError(f"+{key}: the recipe has this key already; write {key}=... to change it")
    if not exists and not add:
        raise KeyError(_unknown(cfg, key))
    if exists:
        value = _fit(key, OmegaConf.select(cfg, key), value)
    OmegaConf.update(cfg, key, value, merge=False, force_add=add)


def _exists(cfg: DictConfig, key: str) -> bool:
    missing = object()
    return OmegaConf.select(cfg, key, default=missing) is not missing


def _fit(key: str, old: Any, new: Any) -> Any:
    """``new`` in the type of ``old``; numbers widen, None takes and gives way to anything."""
    kinds = ((bool, "true or false"), (int, "an integer"), (float, "a number"), (str, "a text"))
    if old is None or new is None or _is_open(old):
        return new
    for kind, words in kinds:
        if isinstance(old, kind):
            if kind is float and type(new) is int:
                return float(new)
            if kind is str and isinstance(new, int | float) and not isinstance(new, bool):
                return str(new)
            if type(new) is not kind:
                raise ValueError(f"{key}={new!r}: expected {words}, as in {key}={old!r}")
            return new
    if isinstance(old, ListConfig | list | tuple) and not isinstance(new, list | tuple):
        raise ValueError(f"{key}={new!r}: expected a list, as in {key}={list(old)!r}")
    return new


def _is_open(old: Any) -> bool:
    """Whether any value may replace ``old``: a call, a callable, a group."""
    return isinstance(old, DictConfig | dict) or callable(old)


def _unknown(cfg: DictConfig, key: str) -> str:
    keys = sorted(_flat_keys(cfg))
    tail = key.rsplit(".", 1)[-1]
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.6) or [
        other for other in keys if other.rsplit(".", 1)[-1] == tail
    ]
    hint = f", nearest: {near[0]!r}" if near else ""
    return f"{key}: the recipe has no such key{hint}; +{key}=... would add it"


def _flat_keys(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, DictConfig):
        for key in node:
            child = node._get_node(key)
            if key != "_target_":
                yield f"{prefix}{key}"
                yield from _flat_keys(child, f"{prefix}{key}.")
