"""Warn of weights that were trained on pixels of another normalisation or colour order."""

from __future__ import annotations

import math
from typing import Any

from lowres_d2.engine.startup.saved_recipe import saved_recipe
from lowres_d2.modeling.weights import LoadReport

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

_STATISTICS = ("pixel_mean", "pixel_std")
_FORMAT = "dataloader.train.mapper.image_format"
# What images have without a mapper, and in the formats that are about colours.
_ORDER, _ORDERS = "RGB", ("RGB", "BGR")
# Of torchvision's ResNets; timm has some of others.
_TORCHVISION = {
    "pixel_mean": [123.675, 116.28, 103.53],
    "pixel_std": [58.395, 57.12, 57.375],
    "image_format": "RGB",
}


def other_pixels_warning(
    cfg: DictConfig, report: LoadReport, key: str = "model", flipped: bool = False
) -> str:
    """What differs between the pixels that weights were trained on and those a network gets.

    Args:
        cfg: the recipe that the weights are loaded for.
        report: report of loading them.
        key: of the network in the recipe.
        flipped: whether the network gets the loader's colours in reversed order.

    Returns:
        A warning; empty if nothing differs, or the file does not say what it was trained on.
    """
    theirs, ours = _pixels_of(report), _pixels(cfg, key)
    if flipped and "image_format" in ours:
        ours["image_format"] = ours["image_format"][::-1]
    differ = [
        f"{name} {theirs[name]}, {key if key != 'model' else 'the model'} has {ours[name]}"
        for name in theirs
        if name in ours and _kind(theirs[name]) == _kind(ours[name])
        if not _same(theirs[name], ours[name])
    ]
    if not differ:
        return ""
    was = "was trained" if report.recipe else "is a ResNet of torchvision's kind, trained"
    return (
        f"{report.path} {was} with {'; '.join(differ)}: its first layers see other pixels; "
        "make them equal, unless this is intended"
    )


def _pixels_of(report: LoadReport) -> dict[str, Any]:
    """What a file was trained on; empty if it does not say so."""
    if not report.recipe:
        return _TORCHVISION if report.torchvision else {}
    saved = saved_recipe(report)
    try:
        return _pixels(saved, "model") if saved else {}
    except (ValueError, OmegaConfBaseException):  # saved by another version
        return {}


def _pixels(cfg: DictConfig, network: str) -> dict[str, Any]:
    """Mean and standard deviation of a recipe's network, and the order of its colours."""
    # Of a composition, and of what a conversion such as `binarized` is made of.
    while OmegaConf.select(cfg, f"{network}.detector") is not None:
        network += ".detector"
    found = {name: OmegaConf.select(cfg, f"{network}.{name}") for name in _STATISTICS}
    found = {name: [float(v) for v in values] for name, values in found.items() if values}
    order = OmegaConf.select(cfg, _FORMAT, default=_ORDER)
    return found | ({"image_format": order} if order in _ORDERS else {})


def _kind(value: Any) -> Any:
    """Statistics of images of other channels cannot be compared."""
    return len(value) if isinstance(value, list) else type(value)


def _same(theirs: Any, ours: Any) -> bool:
    if isinstance(theirs, str):
        return theirs == ours
    return all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(theirs, ours, strict=True))
