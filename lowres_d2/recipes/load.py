"""Load a recipe: a LazyConfig file with model, dataloader, optimizer and train."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from lowres_d2.recipes.checks import check_calls, check_references, check_train, children
from lowres_d2.recipes.find import find_recipe
from lowres_d2.recipes.keys_read import check_read, refers_to
from lowres_d2.recipes.nesting import is_nested, note, reading
from lowres_d2.recipes.overrides import apply_overrides
from lowres_d2.recipes.places import find_places, missing_places
from lowres_d2.recipes.tiles import KEY as TILES
from lowres_d2.recipes.tiles import asks_for_tiles, check_windows, put_in_tiles
from lowres_d2.saved_configs import CONFIG, RefusedConfigError, read_saved_config

from detectron2.config import LazyConfig, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

REQUIRED = ("model", "dataloader", "optimizer", "lr_multiplier", "train")


def load_recipe(name: str | Path, overrides: Iterable[str] = ()) -> DictConfig:
    """Load a recipe, apply ``key=value`` overrides strictly, and check what it calls.

    A python recipe may itself load another one with this function, and change its parts; and it
    may import modules that lie beside it.

    Args:
        name: see :func:`find_recipe`.
        overrides: ``key=value`` changes an existing key, ``+key=value`` adds one, and
            ``+tiles.key=value`` puts the model in tiles, see :mod:`lowres_d2.recipes.tiles`.

    Returns:
        The configuration; an empty ``train.output_dir`` is set from the file's name, and that of
        a run's ``config.yaml`` is the folder that it is in, wherever it was written. Relative paths
        of a saved config are also found from other folders, see
        :mod:`lowres_d2.recipes.places`. Within a
        recipe it is empty, so that the recipe gets a folder of its own.

    Raises:
        FileNotFoundError: no such recipe.
        KeyError: an overridden key, a key of ``train`` or a callable's argument does not exist
            (names the nearest), or nothing reads a key.
        ValueError: the file does not load, lacks a part or has a broken reference, or a value has
            the wrong type or range.
    """
    path = find_recipe(name)
    cfg = _read(path)
    parts = cfg if isinstance(cfg, DictConfig) and not cfg._is_none() else {}
    missing = [key for key in REQUIRED if not isinstance(parts.get(key), DictConfig)]
    if missing:
        raise ValueError(
            f"{path} defines no {', '.join(missing)}: a recipe defines {', '.join(REQUIRED)}"
        )
    _drop_unused_names(cfg)
    if _is_a_runs(path, cfg):
        cfg.train.output_dir = str(path.parent)
    find_places(cfg)
    overrides = list(overrides)
    apply_overrides(cfg, overrides)
    # Before the model goes into tiles, where its keys are others.
    check_read(cfg, [text for text in overrides if not asks_for_tiles(text)])
    put_in_tiles(cfg)
    if is_nested():
        cfg.train.output_dir = ""
    elif not cfg.train.get("output_dir"):
        cfg.train.output_dir = f"output/{path.stem}"
    check_references(cfg)
    try:
        check_train(cfg.train, _known_train_keys())
        check_calls(cfg)
        if not is_nested():  # the recipe that loads it may put it in tiles
            check_windows(cfg)
    except OmegaConfBaseException as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}") from error
    note(cfg)
    return cfg


def recipes_loaded_by(path: Path) -> list[DictConfig]:
    """The recipes that a python recipe loads, as they are before it changes them."""
    with reading(path) as loaded, _imports_restored():
        LazyConfig.load(str(path))
    return loaded


def _read(path: Path) -> Any:
    """What a file defines; a saved config is only read, a python file is executed."""
    try:
        if path.suffix in (".yaml", ".yml"):
            # Not LazyConfig, whose loader upstream is the unsafe one.
            text = path.read_text(encoding="utf-8")
            content = read_saved_config(text, str(path))
            return OmegaConf.create(content, flags={"allow_objects": True})
        with reading(path), _imports_restored():
            return LazyConfig.load(str(path))
    except RefusedConfigError:
        raise
    except Exception as error:  # a recipe is a program: it can fail in any way
        raise ValueError(
            f"{path} does not load: {type(error).__name__}: {_one_line(error)}"
        ) from error


def _is_a_runs(path: Path, cfg: DictConfig) -> bool:
    """Whether a recipe is one that a run has written, into this folder or into one elsewhere.

    A copy of it in another folder, alone or not, must not write into the folder of that run.
    """
    return path.name == CONFIG and bool(cfg.train.get("output_dir"))


def _drop_unused_names(cfg: DictConfig) -> None:
    """Remove names of a recipe's file that nothing refers to.

    A recipe imports pieces and uses copies of them. If the pieces stayed as keys, overriding them
    would change nothing.
    """
    # Unresolved, so that references are still the text ${name}.
    parts = OmegaConf.to_container(cfg)
    for name in [key for key in cfg if key not in (*REQUIRED, TILES)]:
        part = parts.pop(name)
        if any(refers_to(text, name) for text in _texts(parts)):
            parts[name] = part
        else:
            del cfg[name]


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from _texts(child)


def build(cfg: DictConfig, key: str) -> Any:
    """Build what the recipe describes at ``key``, such as ``model`` or ``dataloader.test``.

    Raises:
        FileNotFoundError: a file is missing; names the keys whose paths are not there.
        ValueError: a callable rejects its arguments; names the key.
    """
    node = OmegaConf.select(cfg, key)
    try:
        return instantiate(node)
    except FileNotFoundError as error:
        if error.filename is not None:  # of the system, which names its file
            raise
        raise FileNotFoundError(f"{error}{missing_places(node)}") from error
    except TypeError as error:
        raise ValueError(f"{key} cannot be built: {_one_line(error)}") from error
    except (ValueError, KeyError, AssertionError) as error:
        if _is_ours(error):  # its message has the key
            raise
        said = f"there is no {error}" if isinstance(error, KeyError) else _one_line(error)
        where = _innermost_that_fails(node, key)
        raise ValueError(f"{where} cannot be built: {said or type(error).__name__}") from error


def _is_ours(error: BaseException) -> bool:
    """Whether a module of this package raised an error, and none that it calls."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == "lowres_d2"


def _innermost_that_fails(node: Any, key: str) -> str:
    """The key of the call, at or below a node, that fails by itself."""
    for name in node if isinstance(node, DictConfig) else ():
        child = node._get_node(name)
        for place, part in () if child._is_none() else children(child, f"{key}.{name}"):
            try:
                instantiate(part)
            except Exception:  # of any kind: it is the one, or holds it
                return _innermost_that_fails(part, place)
    return key


@contextmanager
def _imports_restored() -> Iterator[None]:
    """Restore ``import``, which LazyConfig replaces while it loads, also if loading fails."""
    # Upstream's _patch_import has no finally.
    before = builtins.__import__
    try:
        yield
    finally:
        builtins.__import__ = before


def _known_train_keys() -> DictConfig:
    return _train_of(find_recipe("configs/common/train.py").resolve())


@cache
def _train_of(path: Path) -> DictConfig:
    return LazyConfig.load(str(path), "train")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
