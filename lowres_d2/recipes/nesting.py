"""Recipes that load others, and modules of their own that lie beside them.

While a recipe is read, its modules are those of its own folder alone: another recipe that was read
before may have other ones by the same names. Afterwards the modules of all recipes can be imported,
for parts that are named by text; of equal names the recipe's that was read last counts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from types import ModuleType

from omegaconf import DictConfig

# What the recipe that is being read has loaded so far; None: none is being read.
_LOADED: ContextVar[list[DictConfig] | None] = ContextVar("_LOADED", default=None)
# Folders of the recipes read so far, and the modules of each that are set aside, by name.
_FOLDERS: dict[str, dict[str, ModuleType]] = {}
# Modules and packages in such a folder that were there before a recipe was.
_INSTALLED: set[str] = set()


@contextmanager
def reading(path: Path) -> Iterator[list[DictConfig]]:
    """While a python recipe is read: the recipes that it loads, as they were before its changes.

    Modules beside the recipe can be imported from now on, by names that nothing installed has.
    """
    own, found = _own_folder(path), []
    before = [place for place in sys.path if place in _FOLDERS]
    _arrange([own] if own else [])
    token = _LOADED.set(found)
    try:
        yield found
    finally:
        _LOADED.reset(token)
        # The recipe that loads this one goes on with its own modules.
        first = before if is_nested() else [own] if own else []
        _arrange(list(dict.fromkeys([*first, *before, *_FOLDERS])))


def _own_folder(path: Path) -> str | None:
    """The folder of a recipe; None: modules in it are found without our doing."""
    folder = str(path.resolve().parent)
    if folder not in _FOLDERS:
        if folder in {str(Path(place).resolve()) for place in sys.path}:
            return None
        _FOLDERS[folder] = {}
        # Where a recipe lies beside a package that is installed from there, this is none of its.
        _INSTALLED.update(top for top in _tops() if _home(top) == folder)
    return folder


def _arrange(folders: list[str]) -> None:
    """Let modules be imported from these folders of recipes, earlier ones first, and no others."""
    homes = {top: home for top in _tops() - _INSTALLED if (home := _home(top)) in _FOLDERS}
    for name, module in list(sys.modules.items()) if homes else ():
        if home := homes.get(name.partition(".")[0]):
            _FOLDERS[home][name] = module
    for aside in _FOLDERS.values():
        for name in aside:
            if sys.modules.get(name) is aside[name]:
                del sys.modules[name]
    # Last: a file beside a recipe must not replace an installed module.
    sys.path[:] = [place for place in sys.path if place not in _FOLDERS] + folders
    taken: set[str] = set()  # what an earlier folder has counts, also where it is not loaded yet
    for folder in folders:
        for name, module in list(_FOLDERS[folder].items()):
            if name.partition(".")[0] not in taken:
                sys.modules[name] = module
                del _FOLDERS[folder][name]
        if os.path.isdir(folder):  # a temporary one may be gone
            taken.update(name.partition(".")[0] for name in os.listdir(folder))


def _tops() -> set[str]:
    """Names of the modules and packages that are loaded, without those inside packages."""
    return {name for name in sys.modules.copy() if "." not in name}


def _home(top: str) -> str | None:
    """The folder that a module or package was found in, of one that is loaded."""
    known = getattr(sys.modules.get(top), "__dict__", {})  # asks no module that loads lazily
    place = next(iter(known.get("__path__") or ()), None) or known.get("__file__")
    return _resolved(os.path.dirname(os.path.abspath(place))) if isinstance(place, str) else None


@cache  # thousands of modules lie in a few folders, which stay where they are
def _resolved(folder: str) -> str:
    return os.path.realpath(folder)


def is_nested() -> bool:
    """Whether a recipe is being read, which loads this one."""
    return _LOADED.get() is not None


def note(cfg: DictConfig) -> None:
    """Note a recipe that the one which is being read has loaded."""
    found = _LOADED.get()
    if found is not None:
        found.append(cfg.copy())
