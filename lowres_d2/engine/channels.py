"""Images of any number of channels: a model's statistics and stem follow, or are named.

The number of an image's channels is that of ``image_format``: 1 of L, 3 of RGB and BGR. With null
it is what the recipe gives the model. Recipes are written for 3, so 3 is what follows.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Iterator
from typing import Any

from lowres_d2.data import DetectionMapper
from lowres_d2.data.image import FORMATS, ImageReader
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.channels import input_channels, probe_side
from lowres_d2.modeling.modes import in_eval_mode
from lowres_d2.modeling.resample import LearnedDownsampler
from lowres_d2.modeling.tiles import untiled

import torch
from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import nn

logger = logging.getLogger(__name__)

_USUAL = 3
_STATISTICS = ("pixel_mean", "pixel_std")
_FORMAT = "dataloader.{}.mapper.image_format"


def follow_channels(cfg: DictConfig) -> None:
    """Give every network of a recipe's model the channels of its images, where it still has 3.

    Statistics of one channel, or of many, are the mean of those of the three colours. What a
    recipe sets to another number than 3 stays, and the rest of its network follows that.

    Raises:
        ValueError: a network's numbers of channels contradict each other.
    """
    images, resamplers = image_channels(cfg, "train"), list(_downsamplers(cfg.model))
    widened = any(node.get("out_channels") is not None for node in resamplers)
    for path, node in _networks(cfg.model, "model"):
        # Behind a resampler that makes more channels, its own output counts.
        of_images = not widened or ".teacher." in path
        channels = _follow(path, node, images if of_images else None)
        if images is None and of_images:
            images = channels
    for node in resamplers:
        if images not in (None, _USUAL) and node.get("in_channels", _USUAL) == _USUAL:
            OmegaConf.update(node, "in_channels", images, force_add=True)
    for split in ("train", "test"):
        mapper = _mapper(cfg, split)
        if mapper is not None and _target(mapper) is DetectionMapper:
            form = mapper.get("image_format", "BGR")
            ImageReader(form)  # a wrong one is an error here, at the start
            if form is None and mapper.get("channels") is None:
                OmegaConf.update(mapper, "channels", images, force_add=True)


def image_channels(cfg: DictConfig, split: str) -> int | None:
    """Channels of the images of ``train`` or ``test``; None: the recipe does not say."""
    mapper = _mapper(cfg, split)
    return None if mapper is None else FORMATS.get(mapper.get("image_format"))


def expected_channels(model: nn.Module) -> int:
    """Channels of the images that a model takes; 3 where it does not tell."""
    model = untiled(model)
    composed = isinstance(model, LowResDetector)
    first = input_channels(model.resampler, batched=False) if composed else None
    detector = model.detector if composed else model
    return first or len(getattr(detector, "pixel_mean", range(_USUAL)))


def check_channels(cfg: DictConfig, model: nn.Module) -> None:
    """Raise where a model takes other channels than its images have.

    Raises:
        ValueError: names what differs, and the setting.
    """
    root, model = "model" if untiled(model) is model else "model.detector", untiled(model)
    composed = isinstance(model, LowResDetector)
    teacher = model.teacher.model if composed and model.teacher is not None else None
    detector = model.detector if composed else model
    names = {f"{root}.detector" if composed else root: detector, f"{root}.teacher.model": teacher}
    for name, network in names.items():
        if not hasattr(network, "pixel_mean"):
            continue
        taken = _check_network(name, network)
        for split in ("train", "test"):
            images = image_channels(cfg, split)
            given = images
            if composed and network is detector:
                given = _resampled(model.resampler, images)
            if given not in (None, taken):
                made = "" if given == images else f", of which the resampler makes {given}"
                key = _FORMAT.format(split)
                raise ValueError(
                    f"images have {images} channels ({key}={OmegaConf.select(cfg, key)}){made}, "
                    f"and {name}.pixel_mean has {taken}: make them equal"
                )


def _check_network(name: str, network: nn.Module) -> int:
    """Channels of a network, where all of its parts agree."""
    mean, std = (len(getattr(network, key)) for key in _STATISTICS)
    first = input_channels(getattr(network, "backbone", None) or nn.Identity())
    if mean != std or first not in (None, mean):
        raise ValueError(
            f"{name}: pixel_mean has {mean} channels, pixel_std {std}, and the backbone's first "
            f"convolution takes {first}: make them equal (in_channels is the convolution's)"
        )
    return mean


def _resampled(resampler: nn.Module, images: int | None) -> int | None:
    """Channels of the low-resolution images of images with so many."""
    if images is None:
        return None
    wanted = input_channels(resampler, batched=False)
    if wanted not in (None, images):
        raise ValueError(
            f"images have {images} channels, and model.resampler takes {wanted}: set its "
            "in_channels"
        )
    device = next((p.device for p in resampler.parameters()), None)
    side = probe_side(resampler)
    with torch.no_grad(), in_eval_mode(resampler):
        return len(resampler([torch.zeros(images, side, side, device=device)])[0])


def _follow(path: str, node: DictConfig, images: int | None) -> int:
    """Make a network's numbers of channels equal; returns that number."""
    stem = _stem(node, path)
    counts = {f"{path}.{key}": len(node[key]) for key in _STATISTICS}
    if stem is not None:
        counts[f"{stem[0]}.in_channels"] = stem[1].get("in_channels", _USUAL)
    others = {number for number in counts.values() if number != _USUAL}
    if images not in (None, _USUAL) and not others:
        others = {images}
    if not others:
        return _USUAL
    if len(others) > 1:
        found = ", ".join(f"{key} {number}" for key, number in counts.items())
        raise ValueError(f"numbers of channels contradict each other ({found}): make them equal")
    channels = others.pop()
    if all(number == channels for number in counts.values()):
        return channels
    for key in _STATISTICS:
        if len(node[key]) != channels:
            mean = sum(node[key]) / len(node[key])
            node[key] = [mean] * channels
    if stem is not None:
        OmegaConf.update(stem[1], "in_channels", channels, force_add=True)
    logger.info(
        "channels of %s: %d, with pixel_mean %s and pixel_std %s",
        path,
        channels,
        *map(node.get, _STATISTICS),
    )
    return channels


def _networks(node: Any, path: str) -> Iterator[tuple[str, DictConfig]]:
    """Detectors in a recipe's model, by their key."""
    if isinstance(node, DictConfig):
        if all(isinstance(node.get(key), ListConfig) for key in _STATISTICS):
            yield path, node
        for key in node:
            yield from _networks(node[key], f"{path}.{key}")


def _stem(node: DictConfig, path: str) -> tuple[str, DictConfig] | None:
    """The part of a detector's backbone that says how many channels it takes, and its key."""
    for key in ("backbone", "bottom_up", "stem"):
        if isinstance(node.get(key), DictConfig):
            node, path = node[key], f"{path}.{key}"
    known = "in_channels" in node or "in_channels" in _parameters(_target(node))
    return (path, node) if known else None


def _downsamplers(node: Any) -> Iterator[DictConfig]:
    """Learned downsamplers in a recipe's model."""
    if isinstance(node, DictConfig):
        if _target(node) is LearnedDownsampler:
            yield node
        node = [node[key] for key in node]
    for part in node if isinstance(node, list | ListConfig) else ():
        yield from _downsamplers(part)


def _parameters(target: Any) -> Collection[str]:
    return inspect.signature(target).parameters if callable(target) else ()


def _target(node: DictConfig) -> Any:
    target = node.get("_target_")
    return locate(target) if isinstance(target, str) else target


def _mapper(cfg: DictConfig, split: str) -> DictConfig | None:
    mapper = OmegaConf.select(cfg, f"dataloader.{split}.mapper")
    return mapper if isinstance(mapper, DictConfig) else None
