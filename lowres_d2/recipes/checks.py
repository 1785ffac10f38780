"""Checks of a recipe right after loading: references, arguments of calls, and ``train``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from lowres_d2.recipes.names import nearest

from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

# Arguments that the run fills in.
FILLED_IN = ("optimizer.params.model",)
# Least values of the integers in `train`.
LEAST = {
    "max_iter": 1,
    "log_period": 1,
    "eval_period": 0,
    "seed": 0,
    "teacher_check.images": 0,
    "checkpointer.period": 1,
    "checkpointer.max_to_keep": 1,
    "early_stopping.patience": 1,
}


def check_train(train: DictConfig, known: DictConfig) -> None:
    """Check the keys and numbers of a recipe's ``train``.

    Args:
        train: ``train`` of the recipe.
        known: a ``train`` with every valid key; ``ddp`` and lists may hold anything.

    Raises:
        KeyError: there is no such key; names the nearest.
        ValueError: a number is out of range.
    """
    _check_keys(train, known, "train")
    for key, least in LEAST.items():
        value = OmegaConf.select(train, key, default=least)
        # Not isinstance, since True is an int.
        if type(value) is not int or value < least:
            raise ValueError(f"train.{key} is {value}: expected an integer of at least {least}")
    average = train.get("ema")
    if average and average.get("enabled") and not 0 < average.decay < 1:
        raise ValueError(f"train.ema.decay is {average.decay}: expected a number between 0 and 1")


def _check_keys(node: DictConfig, known: DictConfig, where: str) -> None:
    for key in node:
        if key not in known:
            raise KeyError(f"{where}.{key}: there is no such key{nearest(str(key), known)}")
        if isinstance(known[key], DictConfig) and key != "ddp":
            if not isinstance(node[key], DictConfig):
                raise ValueError(
                    f"{where}.{key} is {node[key]}: expected a dict with {', '.join(known[key])}"
                )
            _check_keys(node[key], known[key], f"{where}.{key}")


def check_references(cfg: DictConfig) -> None:
    """Resolve every ``${key}`` of a recipe.

    Raises:
        ValueError: there is no such key, or references form a cycle; names the referring key.
    """
    for where, node in _references(cfg, ""):
        try:
            node._dereference_node()
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{where} refers to {node._value()}: {reason}") from error


def _references(node: Any, where: str) -> Iterator[tuple[str, Any]]:
    if node._is_interpolation():
        yield where, node
    # Through _get_node: node[key] would resolve the reference, and raise if it is broken.
    elif isinstance(node, DictConfig | ListConfig) and not node._is_none():
        for key in node.keys() if isinstance(node, DictConfig) else range(len(node)):
            yield from _references(node._get_node(key), f"{where}.{key}".lstrip("."))


def check_calls(cfg: DictConfig, where: str = "") -> None:
    """Check the arguments of every ``L(...)`` in a recipe against its callable's signature.

    Raises:
        KeyError: a callable takes no such argument; names the key and the nearest argument.
        ValueError: a required argument is missing, or the callable does not exist.
    """
    if "_target_" in cfg:
        _check_call(cfg, where)
    for key in cfg:
        if cfg._get_node(key)._is_none():
            continue
        for place, child in children(cfg._get_node(key), f"{where}.{key}".lstrip(".")):
            check_calls(child, place)


def children(node: Any, where: str) -> Iterator[tuple[str, DictConfig]]:
    """DictConfigs at ``node`` or in a list there; a reference is checked at what it refers to."""
    if node._is_interpolation():
        return
    if isinstance(node, DictConfig):
        yield where, node
    elif isinstance(node, ListConfig):
        for index in range(len(node)):
            yield from children(node._get_node(index), f"{where}[{index}]")


def _check_call(node: DictConfig, where: str) -> None:
    function = _target(node["_target_"], where)
    name = getattr(function, "__name__", function)
    taken = _arguments(function)
    known = [parameter.name for parameters in taken or () for parameter in parameters]
    for key in node if taken is not None else ():
        if key not in ("_target_", *known):
            raise KeyError(f"{where}.{key}: {name} takes no {key!r}{nearest(key, known)}")
    for parameter in _named(function) or ():
        place = f"{where}.{parameter.name}".lstrip(".")
        given = parameter.name in node.keys() or place in FILLED_IN  # noqa: SIM118 also unresolved
        if parameter.default is parameter.empty and not given:
            raise ValueError(f"{place} is missing: {name} needs it")


def takes_argument(node: DictConfig, name: str) -> bool:
    """Whether the callable that a node calls takes an argument of this name."""
    taken = _arguments(_target(node["_target_"], ""))
    return taken is None or any(p.name == name for parameters in taken for p in parameters)


def _target(target: Any, where: str) -> Any:
    """The callable; a recipe from a yaml file has its name instead."""
    if not isinstance(target, str):
        return target
    try:
        function = locate(target)
    except Exception as error:  # importing a module may fail in any way
        reason = " ".join(str(error).split())
        raise ValueError(f"{where}._target_: {target} cannot be imported: {reason}") from error
    if not callable(function):
        raise ValueError(f"{where}._target_: {target} cannot be called")
    return function


def _arguments(function: Any) -> list[list[inspect.Parameter]] | None:
    """Arguments that a callable takes, by the class that takes them; None if it takes any.

    A class with ``**kwargs`` also takes the arguments of the next class in its resolution order.
    """
    # Without object, whose __init__ has a signature that takes everything.
    classes = function.__mro__[:-1] if isinstance(function, type) else ()
    taken = []
    for part in [c for c in classes if "__init__" in vars(c)] or [function]:
        named = _named(part)
        if named is None:
            return None
        taken.append(named)
        if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(part).parameters.values()):
            return taken
    return None


def _named(function: Any) -> list[inspect.Parameter] | None:
    """Arguments that can be given by name, without ``self``; None if it has no signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
