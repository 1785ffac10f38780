"""From a config that describes a call to the result of the call."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from detectron2.utils.registry import _convert_target_to_string, locate
from omegaconf import DictConfig, ListConfig, OmegaConf

__all__ = ["dump_dataclass", "instantiate"]


def dump_dataclass(obj: Any) -> dict[str, Any]:
    """A dataclass object as the dict that `instantiate` turns back into an equal object."""
    if not dataclasses.is_dataclass(obj) or isinstance(obj, type):
        raise TypeError(f"dump_dataclass: expected an object of a dataclass, got {obj!r}")
    dump: dict[str, Any] = {"_target_": _convert_target_to_string(type(obj))}
    for field in dataclasses.fields(obj):
        dump[field.name] = _dump_value(getattr(obj, field.name))
    return dump


def _dump_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dump_dataclass(value)
    if isinstance(value, list | tuple):
        return [_dump_value(element) for element in value]
    return value


def instantiate(cfg: Any) -> Any:
    """Make what a config describes.

    Args:
        cfg: a mapping with the key ``_target_`` (a callable, its importable name, or a config that
            makes one) and keyword arguments, which are instantiated first; a list of such; anything
            else comes back as it is.

    Returns:
        What the target returns.
    """
    if isinstance(cfg, ListConfig):
        return ListConfig([instantiate(x) for x in cfg], flags={"allow_objects": True})
    if isinstance(cfg, list):
        return [instantiate(x) for x in cfg]
    if isinstance(cfg, DictConfig) and dataclasses.is_dataclass(OmegaConf.get_type(cfg)):
        # OmegaConf takes a dataclass object apart when it is put into a config.
        return OmegaConf.to_object(cfg)
    if not isinstance(cfg, Mapping) or "_target_" not in cfg:
        return cfg
    arguments = {name: instantiate(value) for name, value in cfg.items()}
    target = arguments.pop("_target_")
    if isinstance(target, str):
        target = locate(target)
    if not callable(target):
        raise TypeError(f"_target_ {target!r} cannot be called")
    try:
        return target(**arguments)
    except TypeError:
        name = getattr(target, "__qualname__", repr(target))
        logging.getLogger(__name__).error("Could not call %s with %s", name, sorted(arguments))
        raise
