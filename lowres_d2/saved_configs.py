"""Saved configs (``config.yaml``) read without running what they contain.

Detectron2 saves callables by name, as the string ``_target_`` or with the tag ``!!python/name:``,
and reads with PyYAML's unsafe loader, for which a file is a program. A saved config is passed on
together with its weights, so here it may name only what recipes are made of. Naming a package is
not enough: ``torch.load``, ``torch.hub.load`` and ``torch.nn.modules.module.warnings.os.system``
begin with ``torch``, too.
"""

from __future__ import annotations

import inspect
import os
import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import yaml

CONFIG = "config.yaml"  # Detectron2's name of a run's recipe

# Modules whose classes and functions a saved config may name: they build networks, data sets,
# optimizers, schedules and metrics, and none of them runs a program or unpickles a file.
PARTS = (
    "lowres_d2.data",
    "lowres_d2.engine.lr_factors",
    "lowres_d2.engine.stage_checks",
    "lowres_d2.engine.stages",
    "lowres_d2.evaluation",
    "lowres_d2.layers",
    "lowres_d2.modeling",
    "lowres_d2.structures",
    "detectron2.data",
    "detectron2.evaluation",
    "detectron2.layers",
    "detectron2.modeling",
    "detectron2.solver",
    "detectron2.structures",
    "fvcore.common.param_scheduler",
    "fvcore.nn",
    "torch.nn",
    "torch.optim",
    "torchvision.models",
    "torchvision.ops",
    "torchvision.transforms",
)
# Not these: upstream unpickles proposal files, and mmdet's weights.
UNSAFE = ("detectron2.data.build.load_proposals_into_dataset", "detectron2.modeling.mmdet_wrapper")
# Arguments that name a proposal file; upstream takes a yacs config, which may name one, as `cfg`.
UNSAFE_ARGUMENTS = ("cfg", "proposal_file", "proposal_files")
# Parts that earlier versions saved under another name.
MOVED = {"lowres_d2.data.datasets.PlatesDataset": "lowres_d2.data.plates.PlatesDataset"}
# More modules, separated by commas, that the user trusts: own ones, timm.
OPTION = "LOWRES_D2_TRUST"

_NAME_TAG = "tag:yaml.org,2002:python/name:"
_TUPLE_TAG = "tag:yaml.org,2002:python/tuple"
# What OmegaConf resolves: references (${a.b[0]}, ${..a}), and variables of the environment. Other
# resolvers, oc.create and oc.decode among them, could make a call that was never checked.
_REFERENCE = re.compile(r"\$\{(oc\.env:\w+(,[^${}]*)?|[\w.\[\]/*-]*)\}")


class RefusedConfigError(ValueError):
    """A saved config names something that could run anything."""


def read_saved_config(text: str, source: str) -> Any:
    """The content of a saved config, after a check of every name in it.

    Args:
        text: yaml.
        source: the file's name, for messages.

    Raises:
        RefusedConfigError: it names something to call or to import that is neither one of
            ``PARTS`` nor trusted by the environment variable ``LOWRES_D2_TRUST``.
    """
    content = parse_saved_config(text, source)
    for where, node in _nodes(content, ""):
        if isinstance(node, str) and "${" in _REFERENCE.sub("", node):
            raise RefusedConfigError(
                f"{source}: {where}: {node!r}: a saved config may refer to its keys and to "
                "${oc.env:NAME} alone"
            )
        if isinstance(node, dict) and "_target_" in node:
            target = node["_target_"]
            place = f"{where}._target_".lstrip(".")
            if not isinstance(target, str):
                raise RefusedConfigError(
                    f"{source}: {place}: expected a name, got {type(target).__name__}"
                )
            named_part(target, f"{source}: {place}")
            for name in UNSAFE_ARGUMENTS:
                if node.get(name) is not None:
                    raise RefusedConfigError(
                        f"{source}: {where}.{name}: Detectron2 unpickles proposal files, which "
                        "could run anything; use a recipe in a .py file"
                    )
    return content


def parse_saved_config(
    text: str, source: str, find: Callable[[str, str], Any] | None = None
) -> Any:
    """The content of a saved config, in which only values are checked, not calls.

    Args:
        text: yaml.
        source: the file's name, for messages.
        find: gives the object of a ``!!python/name:``, and gets a place for messages, too; None:
            :func:`named_part`.

    Raises:
        RefusedConfigError: it has a tag that saved configs do not need; names the line.
    """

    def construct_name(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> Any:
        return (find or named_part)(name, f"{source}, line {node.start_mark.line + 1}")

    def construct_tuple(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> tuple[Any, ...]:
        return tuple(loader.construct_sequence(node, deep=True))

    def refuse(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Any:
        raise RefusedConfigError(
            f"{source}, line {node.start_mark.line + 1}: the tag !!python/{tag} makes objects by "
            "running code, and is not read"
        )

    def parse(safe: Any) -> Any:
        loader = type("Loader", (safe,), {})  # plain values, tuples and names of callables
        loader.add_multi_constructor(_NAME_TAG, construct_name)
        loader.add_constructor(_TUPLE_TAG, construct_tuple)
        loader.add_multi_constructor("tag:yaml.org,2002:python/", refuse)
        return yaml.load(text, loader)

    try:
        # LibYAML's, which PyYAML is mostly built with, takes a fifth of the time.
        return parse(getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeError):  # it takes no names of files that are no text
        return parse(yaml.SafeLoader)


def modules_to_trust(text: str) -> list[str]:
    """Modules that ``LOWRES_D2_TRUST`` must name for a saved config to be read.

    Args:
        text: yaml.

    Raises:
        RefusedConfigError: it has a tag that saved configs do not need.
    """
    names: list[str] = []
    content = parse_saved_config(text, "saved config", lambda name, where: names.append(name))
    nodes = [node for _, node in _nodes(content, "") if isinstance(node, dict)]
    names += [n["_target_"] for n in nodes if isinstance(n.get("_target_"), str)]
    refused = set()
    for name in names:
        try:
            named_part(name, "saved config", trusted=())
        except RefusedConfigError:
            refused.add(name.partition(".")[0])
    return sorted(refused)


def named_part(name: str, where: str, trusted: Sequence[str] | None = None) -> Any:
    """The class or function that a saved config names; nothing else is imported.

    Args:
        name: its name.
        where: file and place, for messages.
        trusted: modules that the user trusts; None: those of ``LOWRES_D2_TRUST``.

    Raises:
        RefusedConfigError: it has moved, or is neither one of ``PARTS`` nor trusted.
    """
    if name in MOVED:
        raise RefusedConfigError(f"{where}: {name} is {MOVED[name]} now: change the name")
    if trusted is None:
        trusted = [part.strip() for part in os.environ.get(OPTION, "").split(",") if part.strip()]
    if _is_in(name, trusted):
        return _resolve(name, where)
    remedy = f"if you trust the file, set {OPTION}={name.partition('.')[0]}"
    if not re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*", name) or not _is_in(name, PARTS):
        raise RefusedConfigError(
            f"{where}: {name} is no part of recipes, and could run anything; {remedy}"
        )
    found = _resolve(name, where)
    # A path can leave its package, through what a module there has imported.
    home = getattr(found, "__module__", None)
    if not (inspect.isclass(found) or inspect.isroutine(found)):
        raise RefusedConfigError(f"{where}: {name} cannot be called")
    if not isinstance(home, str) or not _is_part(f"{home}.{found.__qualname__}", trusted):
        raise RefusedConfigError(
            f"{where}: {name} is {home or 'an object'}.{getattr(found, '__qualname__', '')}, which "
            f"is no part of recipes, and could run anything; {remedy}"
        )
    return found


def _is_part(name: str, trusted: Sequence[str]) -> bool:
    """Whether the name of a class or function, where it is defined, is that of a public part."""
    private = any(part.startswith("_") for part in name.split("."))
    return _is_in(name, trusted) or (
        _is_in(name, PARTS) and not private and not _is_in(name, UNSAFE)
    )


def _is_in(name: str, modules: Any) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _resolve(name: str, where: str) -> Any:
    try:
        return pkgutil.resolve_name(name)
    except Exception as error:  # importing a module may fail in any way
        reason = " ".join(str(error).split())
        if isinstance(error, ModuleNotFoundError):
            reason += "; PYTHONPATH=FOLDER finds the modules of a folder"
        raise RefusedConfigError(f"{where}: {name} cannot be imported: {reason}") from error


def _nodes(node: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Every value in containers, with its key."""
    yield where, node
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _nodes(value, f"{where}.{key}".lstrip("."))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _nodes(value, f"{where}[{index}]")
