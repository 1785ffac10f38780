"""Find, load and check a recipe: a LazyConfig file with model, dataloader, optimizer and train.

A recipe is named by a path, or by its path below ``configs/`` or ``projects/`` of this project, so
that an installed package finds the recipes it ships.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lowres_d2.engine.overrides import apply_overrides

from detectron2.config import LazyConfig
from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig
from omegaconf.errors import OmegaConfBaseException

PACKAGE = Path(__file__).resolve().parents[1]
UNLOADABLE = (
    SyntaxError,
    ImportError,
    AssertionError,
    AttributeError,
    KeyError,
    NameError,
    TypeError,
    ValueError,
)
REQUIRED = ("model", "dataloader", "optimizer", "lr_multiplier", "train")


def find_recipe(name: str | Path) -> Path:
    """Path of a recipe given as a path, or relative to this project or its ``configs``.

    Raises:
        FileNotFoundError: no such file; the message names the nearest recipe there is.
    """
    roots = [Path(), PACKAGE, PACKAGE.parent, PACKAGE / "configs", PACKAGE.parent / "configs"]
    for root in roots:
        if (root / name).is_file():
            return root / name
    known = sorted({str(path) for path in shipped_recipes()})
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.3)
    hint = f"; nearest recipe: {near[0]}" if near else ""
    raise FileNotFoundError(f"no recipe {name}{hint}")


def shipped_recipes() -> Iterator[Path]:
    """Recipes of this project, as paths relative to its root; the pieces in ``common`` are none."""
    for root in (PACKAGE, PACKAGE.parent):
        for folder in ("configs", "projects"):
            for path in sorted((root / folder).rglob("*.py")):
                if "common" not in path.parts:
                    yield path.relative_to(root)


def load_recipe(name: str | Path, overrides: Iterable[str] = ()) -> DictConfig:
    """Load a recipe, apply ``key=value`` overrides strictly, and check what it calls.

    Args:
        name: see :func:`find_recipe`.
        overrides: ``key=value`` changes a key that is there, ``+key=value`` adds one.

    Returns:
        The configuration; ``train.output_dir`` is filled from the file name where it is empty.

    Raises:
        FileNotFoundError: no such recipe.
        KeyError: an override or a callable's argument that does not exist, with the nearest name.
        ValueError: the file does not load, lacks a part, or an override has the wrong type.
    """
    path = find_recipe(name)
    try:
        cfg = LazyConfig.load(str(path))
    except UNLOADABLE as error:
        raise ValueError(f"{path} does not load: {type(error).__name__}: {error}") from error
    missing = [key for key in REQUIRED if key not in cfg]
    if missing:
        raise ValueError(
            f"{path} defines no {', '.join(missing)}: a recipe has {', '.join(REQUIRED)}"
        )
    apply_overrides(cfg, overrides)
    if not cfg.train.output_dir:
        cfg.train.output_dir = f"output/{path.stem}"
    try:
        check_calls(cfg)
    except OmegaConfBaseException as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}") from error
    return cfg


def check_calls(cfg: DictConfig, where: str = "") -> None:
    """Check the arguments of every ``L(...)`` in a recipe against its callable's signature.

    Raises:
        KeyError: a callable has no such argument; names the key and the nearest argument.
    """
    if "_target_" in cfg:
        _check_call(cfg, where)
    for key in cfg:
        if cfg._get_node(key)._is_none():
            continue
        for place, child in _children(cfg._get_node(key), f"{where}.{key}".lstrip(".")):
            check_calls(child, place)


def _children(node: Any, where: str) -> Iterator[tuple[str, DictConfig]]:
    """DictConfigs at or inside a list at ``node``; interpolations are checked where they point."""
    if node._is_interpolation():
        return
    if isinstance(node, DictConfig):
        yield where, node
    elif isinstance(node, ListConfig):
        for index in range(len(node)):
            yield from _children(node._get_node(index), f"{where}[{index}]")


def _argument_names(function: Any) -> list[str] | None:
    """Names a callable takes; None where anything may pass.

    A class that passes ``**kwargs`` on takes those of the next class in its resolution order too.
    """
    classes = function.__mro__[:-1] if isinstance(function, type) else ()
    callables = [c.__init__ for c in classes if "__init__" in vars(c)] or [function]
    names: list[str] = []
    for part in callables:
        try:
            parameters = inspect.signature(part).parameters.values()
        except (TypeError, ValueError):  # builtins without a signature
            return None
        variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        names += [p.name for p in parameters if p.kind not in variable]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names
    return None


def _check_call(node: DictConfig, where: str) -> None:
    target = node["_target_"]
    function = locate(target) if isinstance(target, str) else target
    names = _argument_names(function)
    for key in node if names is not None else ():
        if key not in ("_target_", *names):
            near = difflib.get_close_matches(key, names, n=1, cutoff=0.0)
            title = getattr(function, "__name__", function)
            raise KeyError(f"{where}.{key}: {title} takes no {key!r}, nearest: {near[0]!r}")
