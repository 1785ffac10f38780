"""Which settings of a recipe were changed since it was saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lowres_d2.saved_configs import parse_saved_config

import yaml

NOTHING = "(none)"


def changed_settings(old: str, new: str) -> list[str]:
    """``key old -> new`` for every value in which two recipes, as texts of yaml, differ.

    References (``${key}``) count as written, so that a value which others refer to is named once.

    Returns:
        The differences, by key; none if the old recipe cannot be read.
    """
    try:
        before, after = (dict(_flatten(_read(text))) for text in (old, new))
    except (ValueError, yaml.YAMLError):  # saved by another version
        return []
    return [
        f"{key} {_shown(before.get(key, NOTHING))} -> {_shown(after.get(key, NOTHING))}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, NOTHING) != after.get(key, NOTHING)
    ]


def _shown(value: Any) -> Any:
    return "''" if value == "" else value


def _read(text: str) -> Any:
    # Names of callables are compared, nothing is imported.
    return parse_saved_config(text, "saved recipe", find=lambda name, where: name)


def _flatten(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _flatten(child, f"{key}.{name}".lstrip("."))
    elif isinstance(node, list) and any(isinstance(child, dict) for child in node):
        for index, child in enumerate(node):
            yield from _flatten(child, f"{key}[{index}]")
    else:
        yield key, node
