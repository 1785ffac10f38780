"""``tiles``: a recipe whose model sees its images in tiles, and what needs it.

A recipe has ``tiles`` of its own, or ``+tiles.size=640`` adds it.
"""

from __future__ import annotations

from typing import Any

from detectron2.utils.registry import locate
from omegaconf import DictConfig, OmegaConf

KEY = "tiles"
# By name: recipes know no other room.
TARGET = "lowres_d2.modeling.tiles.TiledDetector"


def asks_for_tiles(override: str) -> bool:
    """Whether an override is ``tiles=...`` or ``tiles.key=...``, with or without ``+``."""
    return override.partition("=")[0].partition(".")[0].lstrip("+") == KEY


def put_in_tiles(cfg: DictConfig) -> None:
    """Make ``model`` a ``TiledDetector`` around what it is, if the recipe has ``tiles``.

    Its values are arguments of ``TiledDetector``; with ``{}`` that has its own.

    Raises:
        ValueError: the recipe's model is in tiles already, or ``tiles`` is no dict.
    """
    if KEY not in cfg:
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


def check_windows(cfg: DictConfig) -> None:
    """Raise where images are read window by window, and the model wants whole ones.

    Raises:
        ValueError: names the key, and what would be right.
    """
    for split in ("train", "test"):
        key = f"dataloader.{split}.mapper.windows"
        if not OmegaConf.select(cfg, key, throw_on_resolution_failure=False):
            continue
        if split == "train":
            raise ValueError(f"{key}=true: training reads whole images: leave it out")
        if not _is_tiled(cfg.model.get("_target_")):
            raise ValueError(
                f"{key}=true: is for a model in tiles, and this one sees whole images: add "
                f"+{KEY}.size=640, or set it to false"
            )


def _is_tiled(target: Any) -> bool:
    target = locate(target) if isinstance(target, str) else target
    return isinstance(target, type) and issubclass(target, locate(TARGET))


def _name(target: Any) -> str:
    return str(getattr(target, "__name__", target)).rpartition(".")[2]
