"""Paths in a recipe: those of a saved config are also found from another working directory.

A config keeps relative paths as they were written, so that a project that is moved as a whole still
finds its data. ``train.started_in`` has the folder that they were relative to; only runs set it,
and loading a config removes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lowres_d2.recipes.override_values import declared_types

from omegaconf import DictConfig, ListConfig, OmegaConf

STARTED_IN = "started_in"  # key in train
# Weights, which may be addresses, are declared as text.
_WEIGHTS = ("checkpoint", "init_checkpoint")
_RESULTS = "train.output_dir"  # is written, and is where the user is


def find_places(cfg: DictConfig) -> None:
    """Make relative paths that are not here those of the folder where the recipe's run started.

    Only where they are there: what is missing stays as it is written.
    """
    start = cfg.train.pop(STARTED_IN, "")
    if not start or Path(start) == Path.cwd():
        return
    for node in (cfg.dataloader, cfg.model, cfg.train):
        for key, value in list(places(node)):
            there = Path(start, value)
            if not os.path.lexists(Path(value).expanduser()) and there.exists():
                OmegaConf.update(cfg, key, str(there))


def missing_places(node: Any) -> str:
    """The end of a message about a missing file: which keys name what is not there; or empty."""
    found = {
        key: value
        for key, value in (places(node) if isinstance(node, DictConfig) else ())
        if "://" not in value and not Path(value).expanduser().exists()
    }
    if not found:
        return ""
    here = any(not Path(value).expanduser().is_absolute() for value in found.values())
    where = f" (relative to the folder you run in: {Path.cwd()})" if here else ""
    return f"; set {' and '.join(f'{key}=...' for key in found)}{where}"


def places(node: Any) -> Iterator[tuple[str, str]]:
    """Keys and values of what is read below a node: arguments that are declared to be a ``Path``.

    Where one refers to another key, it is that key's.
    """
    for name in node if isinstance(node, DictConfig) else range(len(node)):
        child = node._get_node(name)
        while child is not None and child._is_interpolation():
            child = child._maybe_dereference_node()
        if child is None or child._is_none() or child._is_missing():
            continue
        if isinstance(child, DictConfig | ListConfig):
            if not node._get_node(name)._is_interpolation():
                yield from places(child)
        elif isinstance(value := child._value(), str) and value and _is_path(node, str(name)):
            key = child._get_full_key(None)
            if key != _RESULTS:
                yield key, value


def _is_path(holder: Any, name: str) -> bool:
    return name in _WEIGHTS or Path in (declared_types(holder, name) or ())
