"""The value of an override: its text read, and fitted to what the key holds or declares."""

from __future__ import annotations

import inspect
import os
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from detectron2.utils.registry import locate
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig

# bool comes first, since it is an int.
KINDS = ((bool, "true or false"), (int, "an integer"), (float, "a number"), (str, "a string"))


class Text(str):
    """A value that Hydra's grammar does not take as one value, such as a path with a comma."""


def read_value(key: str, raw: str) -> Any:
    """The value of ``key=raw``, by Hydra's grammar; what that does not know is text as it stands.

    Raises:
        ValueError: it begins as a list, dict or quoted text, and is none.
    """
    try:
        # A stand-in for the key, since Hydra's grammar has no / and * in keys.
        override = OverridesParser.create().parse_override(f"key={raw}")
    except HydraException as error:
        if raw.lstrip()[:1] in ("[", "{", '"', "'"):
            raise ValueError(
                f"override '{key}={raw}': expected a list [1,2], a dict {{a: 1}} or text in quotes;"
                f" quotes inside a value keep its special characters: \"{key}='[a] (b)'\""
            ) from error
        return Text(raw.strip())
    return Text(raw.strip()) if override.is_sweep_override() else override.value()


def fit(key: str, old: Any, new: Any, raw: str, declared: list[Any] | None) -> Any:
    """``new`` in the type of ``old``, or in a type that the callable declares for this argument.

    An integer may replace a float; anything may replace None. ``~`` of a path is expanded.

    Args:
        key: for messages.
        old: the present value, or None.
        new: from :func:`read_value`.
        raw: its text.
        declared: see :func:`declared_types`.

    Raises:
        ValueError: it does not fit.
    """
    takes_text = _takes(declared, "") if declared else isinstance(old, str)
    if isinstance(new, Text):
        if "," in new and not takes_text:
            raise ValueError(
                f"{key}={raw}: write a list as [1,2], and text with a comma in quotes: "
                f"\"{key}='a,b'\""
            )
        new = str(new)
    elif isinstance(new, bool | int | float) and takes_text and not _takes(declared or (), new):
        new = raw.strip()  # as written: 007 stays 007
    new = _at_home(new)
    if old is None or _takes(declared or (), new) or _is_of_kind(old, new, declared == []):
        return new
    if isinstance(old, float) and isinstance(new, int) and not isinstance(new, bool):
        return float(new)
    if isinstance(old, DictConfig):
        return _fit_group(key, old, new)
    if isinstance(old, ListConfig):
        raise ValueError(f"{key}={raw}: expected a list, as in {key}={list(old)!r}")
    other = f"a {type(old).__name__}"
    words = next((words for kind, words in KINDS if isinstance(old, kind)), other)
    words += ", or a list of them" if declared == [] else ""
    raise ValueError(f"{key}={raw}: expected {words}, as in {key}={old!r}")


def _is_of_kind(old: Any, new: Any, undeclared: bool) -> bool:
    """Whether ``new`` has the type of ``old``; where nothing is declared, a list of it will do."""
    if callable(old) and not isinstance(old, DictConfig):
        return True
    if isinstance(old, DictConfig):
        return False
    if isinstance(old, ListConfig):
        # One for all, as Detectron2's short_edge_length, which declares no type.
        alone = undeclared and len(old) > 0 and type(new) is type(old[0])
        return isinstance(new, list) or alone
    if isinstance(new, list):
        return undeclared and len(new) > 0 and all(type(part) is type(old) for part in new)
    return type(new) is type(old)


def _fit_group(key: str, old: DictConfig, new: Any) -> Any:
    """A dict or call may be replaced by another; a function's call also by the value it returns."""
    if isinstance(new, dict):
        return new
    target = old.get("_target_")
    if target is None:
        raise ValueError(
            f"{key}={new!r}: {key} is a dict with {', '.join(map(str, old))}; change these"
        )
    made_by = locate(target) if isinstance(target, str) else target
    if new is None or inspect.isclass(made_by):
        name = getattr(made_by, "__name__", made_by)
        raise ValueError(f"{key}={new!r}: {key} is a call of {name}; change its arguments")
    return new


def declared_types(holder: Any, name: str) -> list[Any] | None:
    """The types that the callable which ``holder`` calls declares for an argument.

    None: ``holder`` calls nothing; empty: its callable declares none.
    """
    target = holder.get("_target_") if isinstance(holder, DictConfig) else None
    if target is None:
        return None
    try:
        function = locate(target) if isinstance(target, str) else target
        called = function.__init__ if inspect.isclass(function) else function
        hint = get_type_hints(called).get(name)
    except Exception:  # no signature, or unresolved names: check_calls reports what is wrong
        return []
    return [] if hint is None else [*_members(hint)]


def _members(hint: Any) -> Iterator[Any]:
    """The types of a union, without their type parameters: ``Sequence[int]`` is Sequence."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        for member in get_args(hint):
            yield from _members(member)
    elif origin is Annotated:
        yield from _members(get_args(hint)[0])
    elif origin is Literal:
        yield from (type(value) for value in get_args(hint))
    else:
        yield origin or hint


def _takes(declared: Any, value: Any) -> bool:
    """Whether one of the types takes a value of the command line."""
    if Any in declared or object in declared:
        return True
    kinds = [kind for kind in declared if inspect.isclass(kind)]
    if isinstance(value, list):
        return any(issubclass(list, kind) or kind in (tuple, set, frozenset) for kind in kinds)
    if isinstance(value, dict):
        return any(issubclass(dict, kind) for kind in kinds)
    if isinstance(value, str):
        return any(kind is str or issubclass(kind, os.PathLike) for kind in kinds)
    if isinstance(value, int) and not isinstance(value, bool):
        return int in kinds or float in kinds
    return type(value) in kinds


def _at_home(value: Any) -> Any:
    """``~`` at the start of text is the user's home, also in a list."""
    if isinstance(value, list):
        return [_at_home(part) for part in value]
    if isinstance(value, str) and value.startswith("~"):
        return os.path.expanduser(value)
    return value
