"""``+tiles.size=640``: a recipe whose model sees its images in tiles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from omegaconf import DictConfig, OmegaConf

KEY = "tiles"
# By name: recipes know no other room.
TARGET = "lowres_d2.modeling.tiles.TiledDetector"


def asks_for_tiles(override: str) -> bool:
    """Whether an override is ``+tiles=...`` or ``+tiles.key=...``."""
    return override.partition("=")[0].partition(".")[0] == f"+{KEY}"


def put_in_tiles(cfg: DictConfig, overrides: Iterable[str]) -> None:
    """Make ``model`` a ``TiledDetector`` around what it is, if overrides have added ``tiles``.

    The added values are arguments of ``TiledDetector``; with ``+tiles={}`` it has its own.

    Raises:
        ValueError: the recipe's model is in tiles already, or ``tiles`` is no dict.
    """
    if not any(map(asks_for_tiles, overrides)):
        return
    if _name(cfg.model.get("_target_")) == _name(TARGET):
        raise ValueError(
            f"+{KEY}: the recipe's model is in tiles already; change model.size, model.overlap, ..."
        )
    given = cfg.pop(KEY)
    if not isinstance(given, DictConfig):
        raise ValueError(f"+{KEY}={given}: expected arguments, such as +{KEY}.size=640")
    tiled = {"_target_": TARGET, "detector": cfg.model, **given}
    cfg.model = OmegaConf.create(tiled, flags={"allow_objects": True})


def _name(target: Any) -> str:
    return str(getattr(target, "__name__", target)).rpartition(".")[2]
