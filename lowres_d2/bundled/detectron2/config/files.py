"""Execution of config files, with relative imports among them.

Config files are in no package and their folders need no ``__init__.py``; while one is executed,
``from .x import y`` in it executes the file ``x.py`` beside it.
"""

from __future__ import annotations

import ast
import builtins
import os
import uuid
from types import ModuleType
from typing import Any

from detectron2.utils.file_io import PathManager
from omegaconf import DictConfig

_PACKAGE = "detectron2._config_files"


def as_config(value: Any) -> Any:
    """Dicts as `DictConfig`; anything else as it is."""
    return DictConfig(value, flags={"allow_objects": True}) if isinstance(value, dict) else value


def run_config_file(filename: str) -> dict[str, Any]:
    """Execute a config file.

    Returns:
        Its global names.
    """
    return _execute(filename).__dict__


def _execute(filename: str) -> ModuleType:
    with PathManager.open(filename, encoding="utf-8") as file:
        source = file.read()
    try:
        tree = ast.parse(source, filename)
    except SyntaxError as error:
        raise SyntaxError(f"config file {filename} has a syntax error: {error}") from error
    stem = os.path.splitext(os.path.basename(filename))[0]
    package = f"{_PACKAGE}.{uuid.uuid4().hex[:8]}"
    module = ModuleType(f"{package}.{stem}")
    module.__package__ = package
    module.__file__ = filename
    # Builtins of its own: the import statements of all other modules stay python's.
    module.__builtins__ = {**vars(builtins), "__import__": _import}
    exec(compile(tree, filename, "exec"), module.__dict__)
    return module


def _import(
    name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
) -> Any:
    """What import statements of config files do: relative ones execute a file."""
    if level == 0:
        return builtins.__import__(name, globals, locals, fromlist, level)
    importer = globals["__file__"]
    module = _execute(_find_imported_file(importer, name, level))
    for wanted in fromlist or ():
        if wanted != "*" and not hasattr(module, wanted):
            raise ImportError(f"{importer}: {module.__file__} does not define {wanted!r}")
    for public, value in list(vars(module).items()):
        if not public.startswith("__"):
            setattr(module, public, as_config(value))
    return module


def _find_imported_file(importer: str, name: str, level: int) -> str:
    folder = os.path.dirname(importer)
    for _ in range(level - 1):
        folder = os.path.dirname(folder) if folder else os.pardir
    base = os.path.join(folder, *name.split("."))
    if name and PathManager.isfile(f"{base}.py"):
        return f"{base}.py"
    statement = f"{importer}: `from {'.' * level}{name} import ...`"
    if PathManager.isdir(base):
        raise ImportError(f"{statement}: {base} is a folder; a relative import takes a file")
    raise ImportError(f"{statement}: relative import of {base}.py, which does not exist")
