"""What a run is made from, as digests: recipe, training data and the weights it starts with.

Weights that a recipe names (``train.init_checkpoint``, those of a teacher or of a frozen network)
count with their content if they are files here, and by their address in the recipe if they are not.
Training data counts with its classes, boxes, labels and names of images. A generated set is what
its arguments say, which are in the recipe, so that none is generated or read for this.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lowres_d2.data.datasets import dataset_fingerprint
from lowres_d2.data.plates import PlatesClassification, PlatesDataset
from lowres_d2.data.plates.background import list_photos
from lowres_d2.data.plates.dataset import GENERATOR_VERSION
from lowres_d2.engine.build import build_datasets
from lowres_d2.engine.identity import recipe_text
from lowres_d2.modeling.run_weights import weights_file
from lowres_d2.own_files import content_digest

from detectron2.utils.registry import locate
from omegaconf import DictConfig, OmegaConf

RECIPE, DATA = "the recipe", "the training data"


def made_from(cfg: DictConfig) -> dict[str, str]:
    """Digests by what they are of.

    Args:
        cfg: the recipe; its data sets must not have been built.

    Returns:
        Those of :data:`RECIPE`, of :data:`DATA` and of weights, by their key. What is not there has
        none: training says so.
    """
    found = {RECIPE: hashlib.sha256(recipe_text(cfg).encode()).hexdigest()}
    with contextlib.suppress(OSError, ValueError, KeyError):
        found[DATA] = _data_digest(cfg)
    for key in _weight_keys(OmegaConf.to_container(cfg)):
        named = OmegaConf.select(cfg, key)
        with contextlib.suppress(OSError):
            if named:  # an empty path would be this folder's
                found[key] = content_digest(Path(weights_file(named)))
    return found


def what_changed(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What is not as it was, in words; empty: nothing that is known of both times."""
    return ", ".join(name for name in now if before.get(name, now[name]) != now[name])


def _data_digest(cfg: DictConfig) -> str:
    call = cfg.dataloader.train.dataset
    target = call._target_
    if (locate(target) if isinstance(target, str) else target) in (
        PlatesClassification,
        PlatesDataset,
    ):
        folder = call.get("photos")
        photos = [(p.name, p.stat().st_size) for p in list_photos(folder)] if folder else []
        return hashlib.sha256(repr((GENERATOR_VERSION, photos)).encode()).hexdigest()
    cfg = cfg.copy()
    build_datasets(cfg, ["train"])
    dataset = cfg.dataloader.train.dataset
    return dataset_fingerprint(dataset) if hasattr(dataset, "classes") else ""


def _weight_keys(node: Any, key: str = "") -> Iterator[str]:
    children = enumerate(node) if isinstance(node, list) else ()
    for name, child in node.items() if isinstance(node, dict) else children:
        place = f"{key}.{name}".lstrip(".")
        if isinstance(child, str) and str(name).endswith("checkpoint"):
            yield place
        yield from _weight_keys(child, place)
