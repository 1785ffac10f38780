"""Check before the first iteration that enough of the weights were loaded, and describe them."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lowres_d2.modeling.checkpoint_keys import COUNTER
from lowres_d2.modeling.resample import SuperResolved
from lowres_d2.modeling.run_weights import saved_weights, weights_file
from lowres_d2.modeling.super_resolution import FeatureContent
from lowres_d2.modeling.weights import LoadReport
from lowres_d2.recipes.find import shipped_recipes

from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import nn

LEAST_USED = 0.99  # share of a file's tensors
LEAST_ALIKE = 0.5  # share of them that weights for a part of the model have to fit
FLAG = "--allow-partial"
INIT = "train.init_checkpoint"
# Ignored on purpose: class predictors, which were trained on other classes, objectives, which only
# training needs, and batch norm's counters, which a frozen one has not. Caffe2's name for a class
# predictor is ``fc1000_w``.
_IGNORED = re.compile(
    rf"^objectives\.|(^|\.){COUNTER}$"
    r"|(^|\.)(fc(1000)?|linear|classifier|cls_score|box_predictor|class_heads?|class_embed)[._]"
)
_SHOWN_PARTS = 4


def unfit_tensors(report: LoadReport) -> list[str]:
    """Tensors of the file that should have been loaded and were not."""
    return [n for n in (*report.unexpected, *report.misshapen) if not _IGNORED.search(n)]


def check_used(report: LoadReport, allow_partial: bool = False) -> None:
    """Raise if a run would start without much of the weights that it was given.

    Args:
        report: report of loading the initial weights.
        allow_partial: accept any number of loaded tensors.

    Raises:
        ValueError: less than 99 % of the file's tensors were loaded or ignored on purpose.
    """
    unfit = unfit_tensors(report)
    if not allow_partial and len(unfit) > (1 - LEAST_USED) * report.of_file:
        more = ", ..." if len(unfit) > 3 else ""
        text = (
            f"{report.path}: {len(unfit)} of its {report.of_file} tensors have no place in the "
            f"model ({', '.join(unfit[:3])}{more}): "
        )
        # What fits of another network's has the right names and shapes by chance.
        if len(unfit) < LEAST_ALIKE * report.of_file:
            text += f"give weights of this model, or add {FLAG} to load what fits"
        elif report.beside_backbone:
            text += (
                "the backbone of this classifier is not the model's; build the model's with the "
                "same class and arguments, or give a classifier of the model's"
            )
        else:
            text += "these weights belong to another model; give weights of this one"
        raise ValueError(text)


def load_frozen_networks(model: nn.Module) -> None:
    """Load the weights of networks that other runs have trained and that this one does not train.

    Raises:
        FileNotFoundError: a file of weights is missing.
        ValueError: none is given, or it does not fit.
    """
    for module in model.modules():
        if isinstance(module, SuperResolved | FeatureContent):
            module.load_frozen_weights()


def check_complete(report: LoadReport) -> None:
    """Raise if a run would resume without some tensors of its model or of its checkpoint.

    Raises:
        ValueError: names the file and the tensors.
    """
    if report.matched < report.total or report.unexpected:
        raise ValueError(
            f"{report}: a resumed run needs all of them; resume with the recipe it was trained "
            "with, or start without --resume"
        )


@contextlib.contextmanager
def naming_weights(key: str, path: str | Path | None) -> Iterator[None]:
    """In this context, weights that are missing are named with their key and with what makes them.

    Args:
        key: of the recipe; empty: they were given otherwise.
        path: their file or folder; the default folder of a recipe's run stands for that run.

    Raises:
        FileNotFoundError: the weights are missing.
    """
    try:
        yield
    except FileNotFoundError as error:
        if error.filename is not None:  # of the system, which names its file
            raise
        text = str(error) if key in str(error) else f"{key}: {error}"
        # Of two with one name the first, in configs.
        recipes = reversed([*shipped_recipes()])
        runs = {Path("output", recipe.stem): recipe for recipe in recipes}
        folder = next((p for p in (Path(path or ""), Path(path or "").parent) if p in runs), None)
        recipe = runs.get(folder)
        if recipe is not None and not saved_weights(folder) and recipe.name not in text:
            text += f"; it is the folder of {recipe}: train that first"
        raise FileNotFoundError(text) from error


def check_weights(cfg: DictConfig, *keys: str) -> None:
    """Raise if weights are missing, before data is read or generated and a model is built.

    Args:
        cfg: the recipe.
        keys: of files, folders or addresses of weights; empty ones are left out.

    Raises:
        FileNotFoundError: names the key, and what is there instead.
    """
    for key in keys:
        path = OmegaConf.select(cfg, key)
        if isinstance(path, str | Path) and str(path):
            teacher = key.endswith(".teacher.checkpoint")
            with naming_weights(f"the teacher ({key})" if teacher else key, path):
                weights_file(path)


def network_weights(cfg: DictConfig) -> list[str]:
    """Keys of the weights of networks that a recipe's model has and does not train itself."""
    return [*_checkpoints(cfg.model, "model")]


def _checkpoints(node: Any, where: str) -> Iterator[str]:
    if isinstance(node, DictConfig) and "checkpoint" in node:
        yield f"{where}.checkpoint"
        return  # which has the weights of everything here
    for name in node if isinstance(node, DictConfig) else range(len(node)):
        child = node._get_node(name)
        is_group = isinstance(child, DictConfig | ListConfig)
        if is_group and not child._is_none() and not child._is_interpolation():
            yield from _checkpoints(child, f"{where}.{name}")


def describe_weights(report: LoadReport) -> str:
    """One line: tensors loaded, from which file, not loaded, ignored on purpose, and unused."""
    text = f"{report.matched} of {report.total} tensors loaded from {report.path}{_which(report)}"
    unfit = unfit_tensors(report)
    ignored = len(report.unexpected) + len(report.misshapen) - len(unfit)
    not_loaded = [*report.missing, *report.misshapen]
    if report.refitted:
        text += f"; refitted to the image's channels: {', '.join(report.refitted)}"
    for words, number, names in (
        ("renamed from torchvision's ResNet", report.renamed, []),
        ("left out beside a classifier's backbone", len(report.beside_backbone), []),
        ("left as initialized", len(not_loaded), not_loaded),
        ("of the file ignored on purpose", ignored, []),
        ("of the file UNUSED", len(unfit), unfit),
    ):
        if number:
            text += f"; {words}: {number}" + (f" ({_parts(names)})" if names else "")
    return text


def _which(report: LoadReport) -> str:
    """What tells files of one name apart: iterations trained, and the start of their SHA-256."""
    facts = [] if report.iterations is None else [f"after {report.iterations:,} iterations"]
    if Path(report.path).is_file():  # else an address
        digest = hashlib.sha256()
        with open(report.path, "rb") as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
        facts.append(f"sha256 {digest.hexdigest()[:8]}")
    return f" ({', '.join(facts)})" if facts else ""


def _parts(names: list[str]) -> str:
    """``head.cls_score 2, resampler 4``: the parts of a model that tensors belong to."""
    parts = Counter(".".join(name.removeprefix("detector.").split(".")[:2]) for name in names)
    shown = [f"{part} {number}" for part, number in parts.most_common(_SHOWN_PARTS)]
    return ", ".join([*shown, "..."] if len(parts) > _SHOWN_PARTS else shown)
