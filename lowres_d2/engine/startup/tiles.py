"""What a start-up report says of a detector that sees its images in tiles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lowres_d2.modeling.tiles import FirstLook, TiledDetector

from torch import nn


def describe_tiles(model: nn.Module) -> str:
    """Size and overlap of the tiles, and which; empty for a model that sees whole images."""
    if not isinstance(model, TiledDetector):
        return ""
    (height, width), (rows, columns) = model.grid.size, model.grid.overlap
    overlap = rows if rows == columns else f"{columns} and {rows}"
    more = "; also the whole image, shrunk to a tile" if model.whole_image else ""
    look = model.first_look
    if look:
        more = f"; first the whole image at 1/{look.factor}, then {_chosen(look)}"
    return f"{width}x{height} px, overlapping by {overlap}, {model.batch_size} at a time{more}"


def _chosen(look: FirstLook) -> str:
    if look.unsure is None:
        return "no tile"
    low, high = look.unsure
    return f"tiles with scores from {low:g} to {high:g} or objects under {look.tiny:g} px there"


def resized_tiles_warning(model: nn.Module, augmentations: Iterable[Any]) -> str:
    """A warning where tiles are cut from images that the mapper has resized; else empty."""
    resizes = [type(a).__name__ for a in augmentations if type(a).__name__.startswith("Resize")]
    if not isinstance(model, TiledDetector) or not resizes:
        return ""
    return (
        f"tiles are cut from images that the mapper has resized ({', '.join(resizes)}): "
        "dataloader.test.mapper.augmentations=[] leaves images at their own size"
    )
