"""What a recipe changes against the files that it imports (``--print-config``)."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lowres_d2.recipes.load import recipes_loaded_by

from detectron2.config import LazyConfig
from omegaconf import DictConfig, ListConfig
from termcolor import colored

MISSING = "(none)"
ALIKE = 0.6  # share of equal values from which a part counts as the same one in another place


def describe_recipe(path: Path, cfg: DictConfig, color: bool | None = None) -> str:
    """Lines ``key: base -> recipe`` for every key in which a recipe differs from its base.

    Args:
        path: the recipe's file; its base are the files that it imports relatively, and the recipes
            that it loads. A yaml file has no base, and all of its keys are listed.
        cfg: the recipe as loaded, with overrides.
        color: colour the lines; None: if stdout is a terminal.

    Returns:
        The lines; keys that only the recipe has are listed with their resolved values.
    """
    if path.suffix != ".py":
        lines = [f"{key}: {value}" for key, value in sorted(_flatten(cfg))]
        return "\n".join([f"# {path}: all keys, since a yaml file imports nothing", *lines])
    color = sys.stdout.isatty() if color is None else color
    lines = [f"# {path}: differences from the files that it imports"]
    base, mine = {}, dict(_flatten(cfg))
    for name, part in _load_base(path).items():
        values = dict(_flatten(part))
        places = [name] if name in cfg else [*_places(cfg, values)]
        if places and places != [name]:
            lines.append(f"# {name} is now {' and '.join(places)}")
        for place in places or [name]:
            base |= {_join(place, key): value for key, value in values.items()}
    for key in sorted(base.keys() | mine.keys()):
        old, new = base.get(key, MISSING), mine.get(key, MISSING)
        if old == new:
            continue
        if old == MISSING:
            lines.append(_paint(f"+ {key}: {new}", "green", color))
        elif new == MISSING:
            lines.append(_paint(f"- {key}: {old}", "red", color))
        else:
            lines.append(_paint(f"~ {key}: {old} -> {new}", "yellow", color))
    return "\n".join(lines)


def _join(place: str, key: str) -> str:
    return f"{place}{key}" if key.startswith("[") else f"{place}.{key}".strip(".")


def _places(node: Any, part: dict[str, str], where: str = "") -> Iterator[str]:
    """Keys of the dicts at or below a node that a part has become: most of its values are there."""
    if isinstance(node, ListConfig):
        for index in range(len(node)):
            yield from _places(_value(node, index), part, f"{where}[{index}]")
    elif isinstance(node, DictConfig):
        values = dict(_flatten(node))
        equal = sum(values.get(key) == value for key, value in part.items())
        if where and part and equal > ALIKE * len(part.keys() | values.keys()):
            yield where
            return
        for key in node:
            yield from _places(_value(node, key), part, f"{where}.{key}".lstrip("."))


def _load_base(path: Path) -> dict[str, Any]:
    """The parts that a recipe imports or loads from other recipes, before it changes them."""
    parts = {}
    for loaded in recipes_loaded_by(path):
        parts |= {str(name): loaded[name] for name in loaded}
    path = Path(os.path.abspath(path))  # a relative one has too few folders above
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1]
            file = folder.joinpath(*(node.module or "").split(".")).with_suffix(".py")
            loaded = LazyConfig.load(str(file))
            for alias in node.names:
                if alias.name in loaded:
                    parts[alias.asname or alias.name] = loaded[alias.name]
    return parts


def _flatten(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, DictConfig):
        for key in node:
            yield from _flatten(_value(node, key), f"{prefix}.{key}".lstrip("."))
    elif isinstance(node, ListConfig) and any(isinstance(item, DictConfig) for item in node):
        for index, item in enumerate(node):
            yield from _flatten(item, f"{prefix}[{index}]")
    else:
        yield prefix, _show(node)


def _value(node: DictConfig | ListConfig, key: Any) -> Any:
    try:
        return node[key]
    except Exception:  # a reference to a part that only the recipe has
        return str(node._get_node(key)._value())


def _show(value: Any) -> str:
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value)}"
    return repr(value) if isinstance(value, str) else str(value)


def _paint(text: str, name: str, color: bool) -> str:
    # termcolor would look at the terminal itself; `describe_recipe` has decided already.
    return colored(text, name, force_color=True) if color else text
