"""Configs as python-like text, one assignment a line, calls written as calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from detectron2.utils.registry import _convert_target_to_string

_WIDTH = 88
_INDENT = "    "


def config_to_source(content: dict[str, Any], prefix: str) -> str:
    """The text of a config given as plain containers, keys sorted, ending in a newline."""
    return "".join(f"{line}\n" for line in _assignments(content, prefix))


def _assignments(content: dict[str, Any], prefix: str) -> Iterator[str]:
    for name in sorted(content):
        value = content[name]
        if isinstance(value, dict) and "_target_" not in value:
            yield from _assignments(value, f"{prefix}{name}.")
        else:
            yield _expression(f"{prefix}{name} = ", value, "", "")


def _expression(head: str, value: Any, tail: str, indent: str) -> str:
    """`head` + `value` + `tail`, on one line if it fits, else one element a line."""
    opening, elements, closing = _parts(value)
    line = indent + head + opening + ", ".join(f"{h}{_one_line(v)}" for h, v in elements) + closing
    if not elements or len(line + tail) <= _WIDTH:
        return line + tail
    inner = [_expression(h, v, ",", indent + _INDENT) for h, v in elements]
    return "\n".join([indent + head + opening, *inner, indent + closing + tail])


def _one_line(value: Any) -> str:
    opening, elements, closing = _parts(value)
    return opening + ", ".join(f"{head}{_one_line(v)}" for head, v in elements) + closing


def _parts(value: Any) -> tuple[str, list[tuple[str, Any]], str]:
    """Opening text, (head, value) of each element, closing text; no elements for a scalar."""
    if isinstance(value, dict) and "_target_" in value:
        names = sorted(name for name in value if name != "_target_")
        return f"{_callee(value['_target_'])}(", [(f"{name}=", value[name]) for name in names], ")"
    if isinstance(value, dict):
        return "{", [(f"{_scalar(name)}: ", value[name]) for name in sorted(value, key=str)], "}"
    if isinstance(value, list):
        return "[", [("", element) for element in value], "]"
    return _scalar(value), [], ""


def _callee(target: Any) -> str:
    if isinstance(target, str):
        return target
    return _one_line(target) if isinstance(target, dict) else _convert_target_to_string(target)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    named = callable(value) and hasattr(value, "__qualname__")
    return _convert_target_to_string(value) if named else repr(value)
