"""Tell before the first iteration whether a teacher's cache will meet the same images again."""

from __future__ import annotations

import copy
import hashlib
import inspect
from itertools import islice

from lowres_d2.data.stream import seeded
from lowres_d2.modeling.teacher import TeacherCache
from lowres_d2.modeling.teacher.cache_store import VERSIONS
from lowres_d2.recipes.load import build

from detectron2.utils.registry import locate
from omegaconf import DictConfig

_DRAWS = 16  # of one image's augmentation
_TRIED = 8  # images, of which the mapper may skip some


def image_versions(cfg: DictConfig) -> int | None:
    """Number of versions of a training image that its random augmentation makes.

    Args:
        cfg: the recipe with its data sets built.

    Returns:
        1 without random augmentation; None where there are too many to be counted.
    """
    of_mapper = _of_mapper(cfg)
    return None if of_mapper is None else of_mapper * _of_loader(cfg)


def random_images_warning(cfg: DictConfig, cache: TeacherCache) -> str:
    """A warning if the cache will meet new images in every epoch; else empty.

    Args:
        cfg: the recipe.
        cache: the teacher's, with the number of ``versions`` of an image.
    """
    if cache.versions is not None and cache.versions <= VERSIONS:
        return ""
    number = "ever new" if cache.versions is None else f"{cache.versions:,}"
    fixed = "give the mapper no random augmentation"
    if _of_loader(cfg) > 1:
        fixed = "set dataloader.train.crop_padding=0 (a flip alone makes two)"
    return (
        f"model.teacher.cache: random augmentation makes {number} versions of each training image, "
        "of which each is cached on its own: that saves little time and fills the disk up to "
        f"limit_gb={cache.limit_gb:g}; {fixed}, or train without a cache"
    )


def _of_loader(cfg: DictConfig) -> int:
    """Of the crop and flip of the loader for images in memory."""
    loader = cfg.dataloader.train
    target = loader.get("_target_")
    function = locate(target) if isinstance(target, str) else target
    declared = inspect.signature(function).parameters
    padding, flip = (
        loader.get(key, declared[key].default) if key in declared else 0
        for key in ("crop_padding", "flip")
    )
    return (2 * padding + 1) ** 2 * (2 if flip else 1)


def _of_mapper(cfg: DictConfig) -> int | None:
    if cfg.dataloader.train.get("mapper") is None:
        return 1
    mapper, found = build(cfg, "dataloader.train.mapper"), set()
    for record in islice(iter(cfg.dataloader.train.dataset), _TRIED):
        for draw in range(_DRAWS):
            with seeded(0, draw):
                sample = mapper(copy.deepcopy(record))
            if sample is None:  # skipped
                break
            image = sample["image"].contiguous().numpy()
            found.add(hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest())
        if found:
            break
    return None if len(found) > _DRAWS // 4 else max(1, len(found))
