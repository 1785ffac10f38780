"""Warn of weights that another run trained at another resolution than they are used at here.

Weights fit images of any size, so that nothing else would tell.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lowres_d2.engine.startup.saved_recipe import saved_recipe
from lowres_d2.modeling import resample
from lowres_d2.modeling.meta_arch import SuperResolver
from lowres_d2.modeling.resample import AnyFactor, Bicubic, Downsampled, Identity, SuperResolved
from lowres_d2.modeling.tiles import TiledDetector
from lowres_d2.modeling.weights import LoadReport
from lowres_d2.structures import as_factor

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

# What decides about an image's size and detail.
_FACTORS = ("factor", "low_factor", "output_factor")
_COMPARED = (*_FACTORS, "interpolation")


def other_resampler_warning(cfg: DictConfig, key: str, report: LoadReport, who: str) -> str:
    """How the images that weights were trained on were resampled, if here they are otherwise.

    Args:
        cfg: the recipe that the weights are loaded for.
        key: of the network in it, which has a ``resampler`` if it is a composition.
        report: report of loading the weights.
        who: gets the images here, for the message.

    Returns:
        A warning; empty if nothing differs, or the file does not say what it was trained on.
    """
    try:
        saved, ours = saved_recipe(report), _resampler(OmegaConf.select(cfg, key))
        theirs = _resampler(OmegaConf.select(saved, "model"))
    except OmegaConfBaseException:  # refers to what is not there
        return ""
    # One that serves several factors is evaluated at any of them.
    if not theirs or theirs == ours or AnyFactor.__name__ in (theirs["name"], ours.get("name")):
        return ""
    return (
        f"{report.path} was trained with the resampler {_text(theirs)}, {who} gets images of "
        f"{_text(ours)}: give weights of a run at that resolution, unless this is intended"
    )


def other_low_res_warning(cfg: DictConfig, module: SuperResolved) -> str:
    """What differs between the images that a super-resolution network was trained on and gets.

    Args:
        cfg: the recipe with its data sets built.
        module: the network's resampler, with its weights loaded.

    Returns:
        A warning; empty if nothing differs, or the file does not say what it was trained on.
    """
    try:
        saved = saved_recipe(module.report)
        network = OmegaConf.select(saved, "model")
        while isinstance(network, DictConfig) and network.get("detector") is not None:
            network = network.detector
        if not isinstance(network, DictConfig) or _name(network) != SuperResolver.__name__:
            return ""
        theirs = _arguments(network, SuperResolver)
        data = OmegaConf.select(saved, "dataloader.train.dataset")
    except OmegaConfBaseException:
        return ""
    ours: dict[str, Any] = {
        "low_factor": module.low_factor,
        "interpolation": module.interpolation,
    }
    # By Python's convention lower case is a function, which may give a data set of any class.
    if isinstance(data, DictConfig) and _name(data)[:1].isupper():
        theirs["data"] = _name(data)
        ours["data"] = type(cfg.dataloader.train.dataset).__name__
    differ = [
        f"{name} {theirs[name]}, here it gets {ours[name]}"
        for name in ours
        if name in theirs and theirs[name] != ours[name]
    ]
    if not differ:
        return ""
    return (
        f"the super-resolution network of {module.report.path} was trained with "
        f"{'; '.join(differ)}: make them equal (model.resampler), unless this is intended"
    )


def _resampler(network: Any) -> dict[str, Any]:
    """Name and arguments of a composition's resampler; ``Identity`` where a network has none."""
    if not isinstance(network, DictConfig):
        return {}
    if _name(network) == TiledDetector.__name__:
        network = network.detector
    call = network.get("resampler")
    if not isinstance(call, DictConfig):
        return {"name": Identity.__name__}
    name = _name(call)
    if name == Bicubic.__name__:  # the same by another name
        call, name = dict(call) | {"interpolation": "bicubic"}, Downsampled.__name__
    return {"name": name} | _arguments(call, getattr(resample, name, None))


def _arguments(call: Mapping[str, Any], kind: type | None) -> dict[str, Any]:
    """Those arguments of a call that are compared, defaults included."""
    declared = inspect.signature(kind).parameters if kind else {}
    found = {k: p.default for k, p in declared.items() if p.default is not p.empty}
    found |= dict(call)
    return {k: as_factor(found[k]) if k in _FACTORS else found[k] for k in _COMPARED if k in found}


def _name(call: Mapping[str, Any]) -> str:
    target = call.get("_target_", "")
    return str(getattr(target, "__name__", target)).rpartition(".")[2]


def _text(resampler: Mapping[str, Any]) -> str:
    if resampler.get("name") == Identity.__name__:
        return "full resolution"
    inside = ", ".join(f"{key}={value}" for key, value in resampler.items() if key != "name")
    return f"{resampler.get('name')}({inside})"
