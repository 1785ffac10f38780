"""Opens what a user names: a recipe with weights, the folder of a run, or a file of weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lowres_d2.data.classification import ClassificationMapper
from lowres_d2.deploy.export import SUFFIXES, load_exported
from lowres_d2.engine.build import build_model, check_classes
from lowres_d2.engine.channels import expected_channels
from lowres_d2.engine.identity import Identity, identify, recipe_of
from lowres_d2.engine.trained import trained_model
from lowres_d2.modeling.meta_arch import SuperResolver
from lowres_d2.modeling.run_weights import ENDINGS, near_weights
from lowres_d2.predictor.info import Info, describe, noise
from lowres_d2.predictor.predictor import Predictor
from lowres_d2.quick_models import quick_file
from lowres_d2.recipes.find import find_recipe, nearest_recipe
from lowres_d2.recipes.load import build
from lowres_d2.saved_configs import CONFIG

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

RECIPES = (".py", ".yaml", ".yml")
EXPECTED = (
    f"expected a recipe ({' '.join(RECIPES)}), the folder of a run, a file of weights "
    f"({' '.join(ENDINGS)}), an exported one ({' '.join(SUFFIXES)}), or the name of a quick model"
)
# Of the images of classification sets in memory that do not say their size: CIFAR's, for one.
IN_MEMORY_SIZE = 32


def load(
    source: str | os.PathLike,
    weights: str | os.PathLike | None = None,
    device: str | torch.device | None = None,
    overrides: Iterable[str] = (),
) -> Predictor:
    """A trained detector or classifier, ready for images.

        detector = lowres_d2.load("output/full_fcos_small_own")
        found = detector("image.jpg")

    Args:
        source: the folder of a run, of which the best weights are taken; a file of weights that
            says its recipe, as those of runs and packed 1-bit ones do, or its address; a file of
            ``lowres-d2 export``; the name of one of :func:`lowres_d2.models`; or a recipe, with
            ``weights``.
        weights: a file, an address, the folder of a run or a quick model's name, for a recipe that
            is not theirs; with a run's folder other weights than its best.
        device: such as "cpu" or "cuda:1"; None: as the recipe says, by default a GPU if there is
            one. Packed and exported models run on the CPU.
        overrides: ``key=value`` changes the recipe; ``+tiles.size=640`` puts the model in tiles.

    Returns:
        The predictor.

    Raises:
        FileNotFoundError: there is no such recipe, model or file; names the nearest.
        KeyError: an override's key does not exist; names the nearest.
        ValueError: it is something else, weights and recipe do not fit each other, or its model
            makes images and finds nothing.
    """
    overrides = list(overrides)
    if Path(source).suffix in SUFFIXES and not Path(source).is_dir():
        if weights is not None or overrides or str(device or "cpu") != "cpu":
            raise ValueError(
                f"{os.fspath(source)}: an exported model has its weights, cannot be changed and "
                "runs on the CPU: load it without weights, overrides and device"
            )
        return _exported(Path(source))
    overrides += [] if device is None else [f"train.device={device}"]
    return predictor_of(*recipe_and_identity(source, weights, overrides))


def recipe_and_identity(
    source: str | os.PathLike,
    weights: str | os.PathLike | None = None,
    overrides: Iterable[str] = (),
) -> tuple[DictConfig, Identity, str | None]:
    """The recipe and the weights of what a user names; and the recipe's file, if it has one.

    Args:
        source: as for :func:`load`.
        weights: likewise.
        overrides: likewise.

    Raises:
        FileNotFoundError: there is no such recipe or file.
        KeyError: an override's key does not exist.
        ValueError: it is something else, or does not say its recipe.
    """
    recipe, file = _recipe_and_weights(os.fspath(source), weights)
    if recipe is not None:
        return *recipe_of(recipe, file, overrides), recipe
    found = identify(file)
    if not found.recipe:
        raise ValueError(
            f"{file} does not say which recipe it was trained with: give both, "
            "load(RECIPE, weights=FILE)"
        )
    return found.load_recipe(overrides), found, None


def _exported(path: Path) -> Predictor:
    model = load_exported(path)
    known = model.known
    cfg = Identity(str(path), tuple(known.classes), known.recipe).load_recipe(["train.device=cpu"])

    def described(predictor: Predictor, inputs: dict[str, Any] | None) -> Info:
        counted = build_model(cfg).eval()
        inputs = inputs or predictor.prepare(noise(known.channels))
        return describe(str(path), str(path), known.classes, counted, inputs, known.knows)

    return Predictor(model, mapper_of(cfg), known.classes, described, known.knows)


def _recipe_and_weights(source: str, weights: str | os.PathLike | None) -> tuple[str | None, str]:
    """The recipe, or None where the weights hold it, and the weights."""
    path = Path(source)
    if path.name == CONFIG and path.is_file() and weights is None:
        path = path.parent  # a run's recipe stands for the run
    if path.is_dir():
        if weights is None:
            return None, str(path)
        if not (path / CONFIG).is_file():
            raise FileNotFoundError(f"{source}: has no {CONFIG}: it is not the folder of a run")
        return str(path / CONFIG), os.fspath(weights)
    if path.suffix in RECIPES:
        recipe = find_recipe(source)
        if weights is None:
            raise ValueError(
                f"{recipe} is a recipe, and has no weights: give both, load(RECIPE, weights=FILE)"
            )
        return str(recipe), os.fspath(weights)
    if weights is not None:
        raise ValueError(f"{source}: with weights={os.fspath(weights)}, expected a recipe or a run")
    is_there = path.exists() or quick_file(source)
    if not is_there and "://" not in source and path.suffix not in ENDINGS:
        hint = near_weights(source) or nearest_recipe(source)
        raise FileNotFoundError(f"{source}: is not there; {EXPECTED}{hint}")
    if path.exists() and path.suffix not in ("", *ENDINGS):
        raise ValueError(f"{source}: {EXPECTED}")
    return None, source


def predictor_of(cfg: DictConfig, weights: Identity, recipe: str | None = None) -> Predictor:
    """The predictor of a recipe with its weights, all of which must be there.

    Args:
        cfg: the recipe.
        weights: what is loaded, see :func:`lowres_d2.engine.identity.recipe_of`.
        recipe: its file; None: the weights hold it.

    Raises:
        ValueError: the weights do not fit the recipe, or its model makes images.
    """
    model, _ = trained_model(cfg, weights.weights)
    if any(isinstance(part, SuperResolver) for part in model.modules()):
        raise ValueError(
            f"{weights.weights}: is of a network that makes images, and finds nothing on them: "
            "expected a detector or a classifier"
        )
    classes = class_names(cfg, model, weights)

    def described(predictor: Predictor, inputs: dict[str, Any] | None) -> Info:
        counted = build_model(cfg).eval() if weights.packed else model
        inputs = inputs or predictor.prepare(noise(expected_channels(counted)))
        names = (recipe or weights.weights, weights.weights, classes)
        return describe(*names, counted, inputs, weights.knows)

    return Predictor(model, mapper_of(cfg), classes, described, weights.knows)


def mapper_of(cfg: DictConfig) -> Callable[[dict], dict | None]:
    """The recipe's mapper for evaluation.

    A data set in memory has none: its images had one size from the start, and others get it as
    ``ClassFolders`` gives it.
    """
    if OmegaConf.select(cfg, "dataloader.test.mapper") is not None:
        return build(cfg, "dataloader.test.mapper")
    size = OmegaConf.select(cfg, "dataloader.test.dataset.size") or IN_MEMORY_SIZE
    return ClassificationMapper(is_train=False, size=size, resize=size)


def class_names(cfg: DictConfig, model: nn.Module, weights: Identity) -> list[str]:
    """Names of the classes: those of the weights, else those that the recipe or its data has.

    The weights come first, since they cannot be another data set's; the data last, since building a
    data set may read or generate much. Where none is there, classes have numbers.
    """
    names = list(weights.classes or OmegaConf.select(cfg, "dataloader.test.dataset.classes") or ())
    if not names:
        try:
            names = list(build(cfg, "dataloader.test.dataset").classes)
        except (OSError, ValueError, AttributeError):
            counts = [getattr(module, "num_classes", 0) for module in model.modules()]
            return [f"class {k}" for k in range(max(n for n in counts if isinstance(n, int)))]
    check_classes(model, names)
    return names
