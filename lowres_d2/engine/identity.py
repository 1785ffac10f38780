"""What a file of weights, or the folder of a run, is: its classes and its recipe.

Checkpoints of this project hold both beside Detectron2's ``model``. Weights of Detectron2's model
zoo name no classes, but their author and the size of their class predictor tell the data set.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_d2.data.classification import count_class_folders
from lowres_d2.data.datasets import VOC_CLASSES
from lowres_d2.data.datasets.categories import count_classes
from lowres_d2.data.folders import count_own_classes
from lowres_d2.engine.checkpoint import read_checkpoint
from lowres_d2.engine.startup.weights import naming_weights
from lowres_d2.modeling.run_weights import weights_file
from lowres_d2.quick_models import CARD
from lowres_d2.recipes.load import load_recipe
from lowres_d2.recipes.standalone import computed
from lowres_d2.saved_configs import CONFIG

from detectron2.config import LazyConfig
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from detectron2.utils.registry import locate
from omegaconf import DictConfig

ZOO = "Detectron2 Model Zoo"  # the author that the files of the zoo name
_ANCHORS = 9  # of a cell, in the zoo's RetinaNet, whose predictor has all of them
# Functions that count classes, and the arguments, one of which says of which file or folder.
_COUNTED = {
    count_own_classes: ("path", "json_file"),
    count_classes: ("json_file",),
    count_class_folders: ("path", "root"),
}
_PREDICTORS = ("cls_score.bias", "cls_score.weight")


@dataclass(frozen=True)
class Identity:
    """What weights are.

    Attributes:
        weights: file or address of the weights, of a run's folder the best ones.
        classes: names of the classes in the order of the labels; empty: not known.
        category_ids: ids of these in the annotation file of the training data; empty: not known.
        recipe: the complete recipe that they were trained with, as the text of a ``config.yaml``;
            empty: not known.
        packed: whether it is a file of ``lowres-d2 pack``.
        knows: what a quick model was trained on, and knows alone; empty: not known.
    """

    weights: str
    classes: tuple[str, ...] = ()
    recipe: str = ""
    category_ids: tuple[int, ...] = ()
    packed: bool = False
    knows: str = ""

    def load_recipe(self, overrides: Iterable[str] = ()) -> DictConfig:
        """The recipe, with ``key=value`` overrides, as :func:`lowres_d2.recipes.load.load_recipe`.

        Raises:
            ValueError: the weights do not say what their recipe is.
        """
        if not self.recipe:
            raise ValueError(
                f"{self.weights} does not say which recipe it was trained with: add "
                "--config-file RECIPE"
            )
        with tempfile.TemporaryDirectory() as folder:
            # By another name than config.yaml, which would mean that its folder is the run's.
            path = Path(folder, "recipe.yaml")
            path.write_text(self.recipe, encoding="utf-8")
            try:
                return load_recipe(path, overrides)
            except (ValueError, KeyError) as error:
                said = str(error.args[0]) if error.args else ""
                error.args = (said.replace(str(path), f"the recipe in {self.weights}"),)
                raise


def identify(path: str | Path) -> Identity:
    """What the weights at a path are.

    The classes and the recipe come from the file itself. A checkpoint without a recipe takes that
    of the ``config.yaml`` beside it; weights of Detectron2's zoo have the classes of COCO or VOC.

    Args:
        path: a file of weights, its address, the folder of a run, or the name of a quick model.

    Raises:
        FileNotFoundError: no such file, or the folder has no weights.
        ValueError: the file is broken.
    """
    with naming_weights("", path):
        path = weights_file(path)
    contents = read_checkpoint(path)
    classes = contents.get("classes") or _zoo_classes(contents)
    recipe, ids = contents.get("recipe", ""), contents.get("category_ids")
    card = contents.get(CARD)
    beside = Path(path).with_name(CONFIG)
    # Only a run's checkpoint: any other file beside a run's config.yaml may be another model's.
    if not recipe and "trainer" in contents and beside.is_file():
        recipe = beside.read_text(encoding="utf-8")
    return Identity(
        weights=str(path),
        classes=tuple(map(str, classes)) if isinstance(classes, list) else (),
        recipe=recipe if isinstance(recipe, str) else "",
        category_ids=tuple(k for k in ids if isinstance(k, int)) if isinstance(ids, list) else (),
        packed="packed" in contents,
        knows=str(card.get("knows", "")) if isinstance(card, dict) else "",
    )


def recipe_of(
    config_file: str | None, weights: str | Path, overrides: Iterable[str] = ()
) -> tuple[DictConfig, Identity]:
    """The recipe of a program that is given weights, and what these are.

    Args:
        config_file: the recipe; None: the weights' own.
        weights: as for :func:`identify`.
        overrides: ``key=value``.

    Raises:
        ValueError: neither is a recipe given, nor do the weights say what theirs is.
        FileNotFoundError: there is no such recipe, or there are no such weights.
    """
    if config_file:
        cfg = load_recipe(config_file, overrides)
        found = identify(weights)
        _count_known(cfg, found.classes)
        return cfg, found
    found = identify(weights)
    return found.load_recipe(overrides), found


def _count_known(cfg: DictConfig, classes: Sequence[str]) -> None:
    """Where a recipe counts the classes of data that are not here, take those of the weights."""
    for holder, key in computed(cfg.model):
        call = holder._get_node(key)
        target = call.get("_target_")
        counted = _COUNTED.get(locate(target) if isinstance(target, str) else target, ())
        given = [call[name] for name in counted if call.get(name) is not None]
        if classes and counted and not any(Path(place).expanduser().exists() for place in given):
            holder[key] = len(classes)


def recipe_text(cfg: DictConfig) -> str:
    """A recipe as the text of a ``config.yaml``; its data sets must not have been built."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, CONFIG)
        LazyConfig.save(cfg, str(path))
        return path.read_text(encoding="utf-8")


def _zoo_classes(contents: Mapping[str, Any]) -> list[str]:
    if contents.get("__author__") != ZOO:
        return []
    outputs = {
        len(tensor) for name, tensor in contents["model"].items() if name.endswith(_PREDICTORS)
    }
    coco = [category["name"] for category in COCO_CATEGORIES if category.get("isthing", 1)]
    for classes in (coco, VOC_CLASSES):
        # A region's predictor has one more output, for the background.
        if outputs and outputs <= {len(classes) + 1, len(classes) * _ANCHORS}:
            return list(classes)
    return []
