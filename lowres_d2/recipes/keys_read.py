"""Whether anything reads a key; one that nothing reads would change nothing, without a word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from lowres_d2.recipes.names import nearest, recipes_for_own_data
from lowres_d2.recipes.overrides import is_in_a_call, plain_key

from omegaconf import DictConfig, ListConfig, OmegaConf

# What a run reads in `dataloader`.
LOADERS = ("train", "test", "evaluator")


def check_read(cfg: DictConfig, overrides: Iterable[str] = ()) -> None:
    """Check that something reads each key of ``dataloader`` and each key that was added.

    Keys of calls and of ``train`` have checks of their own.

    Raises:
        KeyError: nothing reads a key; names what it may have meant.
    """
    references = {*_references(cfg, "")}
    for key in cfg.dataloader:
        if key not in LOADERS and not _is_referred_to(f"dataloader.{key}", references):
            raise KeyError(f"dataloader.{key}: nothing reads it{nearest(str(key), LOADERS)}")
    for text in overrides:
        key = plain_key(text.partition("=")[0])
        if not text.startswith("+") or _is_referred_to(key, references):
            continue
        top = key.partition(".")[0]
        if top in ("dataloader", "train") or is_in_a_call(_holder(cfg, key)):
            continue
        if top == "data":
            hint = f"; {recipes_for_own_data()}" if _is_all_new(cfg.data, key) else ""
            raise KeyError(f"+{key}: nothing in this recipe reads it{hint}")
        hint = nearest(top, (name for name in cfg if name != top))
        raise KeyError(f"+{key}: nothing in this recipe reads it{hint}")


def _holder(cfg: DictConfig, key: str) -> Any:
    """The container that holds a key."""
    above = key.rpartition(".")[0]
    return OmegaConf.select(cfg, above) if above else cfg


def _is_all_new(data: Any, key: str) -> bool:
    """Whether a recipe has nothing in ``data`` but what was added at a key."""
    return key == "data" or data.keys() <= {key.split(".")[1]}


def _is_referred_to(key: str, references: Iterable[str]) -> bool:
    """Whether a reference is to a key, to something in it, or to what it is in."""
    return any(f"{key}.".startswith(f"{r}.") or f"{r}.".startswith(f"{key}.") for r in references)


def _references(node: Any, where: str) -> Iterator[str]:
    """The keys that are referred to, as ``a.b.c``, also within longer text."""
    if isinstance(node, DictConfig | ListConfig) and not (
        node._is_none() or node._is_interpolation()
    ):
        for key in node.keys() if isinstance(node, DictConfig) else range(len(node)):
            yield from _references(node._get_node(key), f"{where}.{key}".lstrip("."))
        return
    for dots, name in re.findall(r"\$\{(\.*)([\w.\[\]]+)\}", str(node._value())):
        name = plain_key(name)
        if not dots:
            yield name
        else:  # one dot: in the container that holds the reference; two: in that container's
            above = where.split(".")[: -len(dots)]
            yield ".".join([*above, name])


def refers_to(text: str, name: str) -> bool:
    """Whether a string contains ``${name}`` or ``${name.key}``."""
    return re.search(rf"\$\{{{re.escape(name)}[.\[}}]", text) is not None
