"""Configs as python files: what a file defines, loaded, overridden, saved.

A config file is executed afresh each time it is loaded or imported by another config file, so no
change to what it defines reaches anyone else.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import os
from collections.abc import Mapping
from typing import Any

from lowres_d2.saved_configs import parse_saved_config

import cloudpickle
import yaml
from detectron2.utils.file_io import PathManager
from detectron2.utils.registry import _convert_target_to_string, locate
from omegaconf import DictConfig, ListConfig, OmegaConf, SCMode

from .files import as_config, run_config_file
from .source import config_to_source

__all__ = ["LazyCall", "LazyConfig"]

logger = logging.getLogger(__name__)


class LazyCall:
    """A call put off: ``LazyCall(f)(a=1)`` is a config that `instantiate` turns into ``f(a=1)``.

    Usually imported as ``L``.
    """

    def __init__(self, target: Any):
        """Take what will be called: a callable, its importable name, or a config that makes it."""
        if not (callable(target) or isinstance(target, str | Mapping)):
            raise TypeError(f"LazyCall: expected a callable or its name, got {target!r}")
        self._target = target

    def __call__(self, **kwargs: Any) -> DictConfig:
        """The config of the call with these arguments."""
        target = self._target
        # A dataclass as a value would be taken for a structured config.
        kwargs["_target_"] = (
            _convert_target_to_string(target) if dataclasses.is_dataclass(target) else target
        )
        return DictConfig(content=kwargs, flags={"allow_objects": True})


class LazyConfig:
    """Loading, saving and overriding of configs."""

    @staticmethod
    def load_rel(filename: str, keys: str | tuple[str, ...] | None = None) -> Any:
        """As `load`, with a path relative to the file that calls this."""
        caller = inspect.stack()[1].filename
        if not os.path.exists(caller):
            raise FileNotFoundError(f"load_rel({filename!r}): the caller is {caller}, not a file")
        return LazyConfig.load(os.path.join(os.path.dirname(caller), filename), keys)

    @staticmethod
    def load(filename: str, keys: str | tuple[str, ...] | None = None) -> Any:
        """Load a config file.

        A python file is executed; a yaml file is not, and its tags may name only classes and
        functions that `lowres_d2.saved_configs` allows. The names at `_target_` are text here,
        and not checked: `instantiate` calls whatever they name. For a file of unknown origin there
        is `lowres_d2.saved_configs.read_saved_config`, which checks them, too.

        Args:
            filename: path that ends in .py, .yaml or .yml.
            keys: name or names to return; None for all.

        Returns:
            One value for a string, a tuple of values for several names; for None a `DictConfig` of
            the dicts and configs in the file whose names have no leading underscore.
        """
        filename = str(filename).replace("/./", "/")
        extension = os.path.splitext(filename)[1]
        if extension == ".py":
            names: Any = run_config_file(filename)
        elif extension in (".yaml", ".yml"):
            with PathManager.open(filename, encoding="utf-8") as file:
                content = parse_saved_config(file.read(), filename)
                names = OmegaConf.create(content, flags={"allow_objects": True})
        else:
            raise ValueError(f"config file {filename}: expected a name in .py, .yaml or .yml")
        if isinstance(keys, str):
            return as_config(names[keys])
        if keys is not None:
            return tuple(as_config(names[key]) for key in keys)
        if extension != ".py":
            return names
        public = {
            name: as_config(value)
            for name, value in names.items()
            if isinstance(value, DictConfig | ListConfig | dict) and not name.startswith("_")
        }
        return DictConfig(public, flags={"allow_objects": True})

    @staticmethod
    def save(cfg: Any, filename: str) -> None:
        """Save as yaml; `load` gives an equal config.

        Callables to be called are written by name, interpolations as they are. Where a value does
        not survive this, a warning says so and FILENAME.pkl has the config, by cloudpickle.

        Args:
            cfg: config.
            filename: path that ends in .yaml.
        """
        content = OmegaConf.to_container(
            cfg, resolve=False, structured_config_mode=SCMode.INSTANTIATE
        )
        try:
            named_targets: dict[str, Any] = {}
            content = _targets_by_name(content, named_targets)
            text = yaml.dump(content, default_flow_style=None, allow_unicode=True, width=9999)
            with PathManager.open(filename, "w", encoding="utf-8") as file:
                file.write(text)
            # Trusted: it is what was just written.
            parse_saved_config(text, filename, lambda name, _: locate(name))
            for name, target in named_targets.items():
                if locate(name) != target:
                    raise ImportError(f"{name} is not {target}")
        except Exception as error:
            logger.warning("%s cannot be loaded again (%s): see %s.pkl", filename, error, filename)
            with PathManager.open(filename + ".pkl", "wb") as file:
                cloudpickle.dump(cfg, file)

    @staticmethod
    def apply_overrides(cfg: DictConfig, overrides: list[str]) -> DictConfig:
        """Change a config in place, by "key=value" in hydra's grammar.

        Args:
            cfg: config.
            overrides: such as "model.head.num_classes=3"; unknown keys are added.

        Returns:
            `cfg`.
        """
        from hydra.core.override_parser.overrides_parser import OverridesParser

        for override in OverridesParser.create().parse_overrides(overrides):
            key = override.key_or_group
            if override.is_delete():
                raise NotImplementedError(
                    f"override {override.input_line!r}: keys cannot be deleted; set null"
                )
            _require_containers_above(cfg, key)
            OmegaConf.update(cfg, key, override.value(), merge=True)
        return cfg

    @staticmethod
    def to_py(cfg: Any, prefix: str = "cfg.") -> str:
        """The config as python-like text, to read or to compare; interpolations are resolved.

        Args:
            cfg: config.
            prefix: put before each name.
        """
        return config_to_source(OmegaConf.to_container(cfg, resolve=True), prefix)


def _require_containers_above(cfg: DictConfig, key: str) -> None:
    parts = key.split(".")
    for depth in range(1, len(parts)):
        above = ".".join(parts[:depth])
        value = OmegaConf.select(cfg, above, default=None)
        if value is None:
            return
        if not OmegaConf.is_config(value):
            raise KeyError(f"cannot set {key!r}: {above!r} is the value {value!r}, not a mapping")


def _targets_by_name(content: Any, named_targets: dict[str, Any]) -> Any:
    """`content` with the names of callables as targets; adds name -> callable to the dict."""
    if isinstance(content, list):
        return [_targets_by_name(element, named_targets) for element in content]
    if not isinstance(content, dict):
        return content
    content = {key: _targets_by_name(value, named_targets) for key, value in content.items()}
    target = content.get("_target_")
    if callable(target) and hasattr(target, "__qualname__"):
        content["_target_"] = _convert_target_to_string(target)
        named_targets[content["_target_"]] = target
    return content
