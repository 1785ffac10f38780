"""A recipe that stands alone: its model can be built where the data is not."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, get_type_hints

from lowres_d2.recipes.load import build

from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig, OmegaConf

PLAIN = (bool, int, float, str)


def standalone(cfg: DictConfig, classes: Sequence[str] = ()) -> DictConfig:
    """A copy of a recipe in which what was read from the data is written down.

    Args:
        cfg: the recipe; its data sets must not have been built.
        classes: names of the classes of its data, which replace ``classes`` of its data sets where
            that is null; empty: not known.

    Returns:
        The copy. In its model, calls of functions that declare a plain value as their result, such
        as ``count_classes``, are replaced by their results.
    """
    cfg = cfg.copy()
    for holder, key in computed(cfg.model):
        holder[key] = build(cfg, holder._get_node(key)._get_full_key(None))
    for split in ("train", "test"):
        dataset = OmegaConf.select(cfg, f"dataloader.{split}.dataset")
        if classes and isinstance(dataset, DictConfig) and "classes" in dataset:
            _fill(dataset._get_node("classes"), list(classes))
    return cfg


def computed(node: DictConfig) -> list[tuple[Any, Any]]:
    """Containers and keys of the calls below a node that compute a plain value."""
    return list(_computed(node))


def _computed(node: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(node.keys()) if isinstance(node, DictConfig) else range(len(node)):
        child = node._get_node(key)
        if not isinstance(child, DictConfig | ListConfig):
            continue
        if child._is_none() or child._is_interpolation():
            continue
        if isinstance(child, DictConfig) and _gives_a_plain_value(child.get("_target_")):
            yield node, key
        else:
            yield from _computed(child)


def _gives_a_plain_value(target: Any) -> bool:
    function = locate(target) if isinstance(target, str) else target
    if not inspect.isfunction(function):
        return False
    try:
        return get_type_hints(function).get("return") in PLAIN
    except NameError:  # an annotation of names that are imported for type checkers alone
        return False


def _fill(node: Any, value: Any) -> None:
    """Set the value where a node, or what it refers to, is null."""
    while node is not None and node._is_interpolation():
        node = node._maybe_dereference_node()
    if node is not None and node._is_none():
        parent = node._get_parent()
        parent[node._key()] = value
