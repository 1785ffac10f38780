"""Recipes that load others, and modules of their own that lie beside them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from omegaconf import DictConfig

# What the recipe that is being read has loaded so far; None: none is being read.
_LOADED: ContextVar[list[DictConfig] | None] = ContextVar("_LOADED", default=None)


@contextmanager
def reading(path: Path) -> Iterator[list[DictConfig]]:
    """While a python recipe is read: the recipes that it loads, as they were before its changes.

    Modules beside the recipe can be imported from now on, by names that nothing installed has.
    """
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # not first: a file beside it must not replace an installed module
    found: list[DictConfig] = []
    token = _LOADED.set(found)
    try:
        yield found
    finally:
        _LOADED.reset(token)


def is_nested() -> bool:
    """Whether a recipe is being read, which loads this one."""
    return _LOADED.get() is not None


def note(cfg: DictConfig) -> None:
    """Note a recipe that the one which is being read has loaded."""
    found = _LOADED.get()
    if found is not None:
        found.append(cfg.copy())
