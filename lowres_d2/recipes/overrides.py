"""Strict command-line overrides: a misspelt key or a value of another type is an error.

The grammar is Hydra's, as in Detectron2. ``key=value`` changes an existing key and keeps its type;
``+key=value`` adds one. Elements of lists are ``key.0`` or ``key[0]``. In addition to Hydra's, keys
may be names of losses: ``model.loss_weights.detector/loss_*=2``.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

from detectron2.utils.registry import locate
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf

_ABSENT = object()
# Abstract types in annotations that accept a dict or list from the command line.
_ABSTRACT = {"dict": "Mapping", "list": "Sequence"}


def apply_overrides(cfg: DictConfig, overrides: Iterable[str]) -> None:
    """Change ``cfg`` in place.

    Raises:
        KeyError: ``key=value`` for a missing key (names the nearest), or ``+key=value`` for an
            existing one.
        ValueError: not ``key=value``, or the value's type differs from the existing one's.
    """
    parser = OverridesParser.create()
    for text in overrides:
        name, sign, raw = text.partition("=")
        name = re.sub(r"\[(\d+)\]", r".\1", name)
        try:
            # Hydra's grammar has no / and * in keys: a stand-in is parsed, for sign and value.
            override = parser.parse_override(re.sub(r"[/*]", "_", name) + sign + raw)
        except HydraException as error:
            raise ValueError(
                f"override {text!r}: expected key=value or +key=value, with quotes around a value "
                "that has special characters: \"key='a (b)'\""
            ) from error
        if override.is_delete() or override.is_force_add() or override.is_sweep_override():
            raise ValueError(
                f"override {text!r}: only key=value and +key=value are supported; write a list as "
                "[1,2]"
            )
        _set(cfg, name.lstrip("+"), override.value(), raw, add=override.is_add())


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
    if old is not _ABSENT:
        value = _fit(key, old, value, raw, _annotation(holder, key.rsplit(".", 1)[-1]))
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


def _fit(key: str, old: Any, new: Any, raw: str, annotation: str) -> Any:
    """``new`` in the type of ``old``, or in a type that the callable declares for this argument.

    An integer may replace a float; anything may replace None.
    """
    if old is None or (callable(old) and not OmegaConf.is_config(old)):
        return new
    # Without type parameters: Sequence[int] takes a list, not an int.
    declared = re.findall(r"\w+", re.sub(r"\[.*\]", "", annotation))
    if new is None and ("None" in declared or "Optional" in declared):
        return new
    if isinstance(old, DictConfig):
        return _fit_group(key, old, new)
    if isinstance(old, ListConfig):
        if not isinstance(new, list):
            raise ValueError(f"{key}={raw}: expected a list, as in {key}={list(old)!r}")
        return new
    # bool comes first, since it is an int.
    kinds = ((bool, "true or false"), (int, "an integer"), (float, "a number"), (str, "a string"))
    other = type(old), f"a {type(old).__name__}"
    kind, words = next(((k, w) for k, w in kinds if isinstance(old, k)), other)
    number = isinstance(new, int | float) and not isinstance(new, bool)
    if kind is float and number:
        return float(new)
    if kind is str and number:  # as written: 007 stays 007
        return raw
    name = type(new).__name__
    if type(new) is not kind and not {name, _ABSTRACT.get(name)} & set(declared):
        raise ValueError(f"{key}={raw}: expected {words}, as in {key}={old!r}")
    return new


def _fit_group(key: str, old: DictConfig, new: Any) -> Any:
    """A dict or call may be replaced by another; a function's call also by the value it returns."""
    if isinstance(new, dict):
        return new
    target = old.get("_target_")
    if target is None:
        raise ValueError(
            f"{key}={new!r}: {key} is a dict with {', '.join(map(str, old))}; change these"
        )
    made_by = locate(target) if isinstance(target, str) else target
    if new is None or inspect.isclass(made_by):
        name = getattr(made_by, "__name__", made_by)
        raise ValueError(f"{key}={new!r}: {key} is a call of {name}; change its arguments")
    return new


def _annotation(holder: Any, name: str) -> str:
    """The annotation of an argument of the callable that ``holder`` calls; empty without one."""
    target = holder.get("_target_") if isinstance(holder, DictConfig) else None
    try:
        function = locate(target) if isinstance(target, str) else target
        return str(inspect.signature(function).parameters[name].annotation)
    except Exception:  # no call, no signature, no such argument: check_calls reports these
        return ""


def _unknown(cfg: DictConfig, key: str) -> str:
    keys = sorted(_flat_keys(cfg))
    tail = key.rsplit(".", 1)[-1]
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.6) or [
        other for other in keys if other.rsplit(".", 1)[-1] == tail
    ]
    hint = f", nearest: {near[0]!r}" if near else ""
    return f"{key}: the recipe has no such key{hint}; +{key}=... adds it"


def _flat_keys(node: Any, prefix: str = "") -> Iterator[str]:
    """Keys below a node; keys inside lists contain the index."""
    if not isinstance(node, DictConfig | ListConfig) or node._is_none() or node._is_interpolation():
        return
    for key in node.keys() if isinstance(node, DictConfig) else range(len(node)):
        if key != "_target_":
            if isinstance(node, DictConfig):
                yield f"{prefix}{key}"
            yield from _flat_keys(node._get_node(key), f"{prefix}{key}.")
