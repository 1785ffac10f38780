"""A trained detector in one small file: what detecting needs of its weights and its recipe."""

from __future__ import annotations

from pathlib import Path

from lowres_d2.atomic import atomic_path
from lowres_d2.engine.identity import Identity, recipe_text
from lowres_d2.engine.trained import trained_model
from lowres_d2.file_notes import read_notes, write_noted
from lowres_d2.own_files import own_path
from lowres_d2.quick_models import CARD, Card

import torch
from omegaconf import DictConfig
from safetensors.torch import load_file

STORED = torch.float16  # half the size; the AP of what is stored is measured
_TRAINING = ("teacher", "objectives", "loss_weights")  # of a composition


def recipe_for_use(cfg: DictConfig) -> DictConfig:
    """A copy of a recipe without what training alone needs, and without paths of this machine."""
    cfg = cfg.copy()
    for name in _TRAINING:
        cfg.model.pop(name, None)
    for key in ("init_checkpoint", "output_dir"):
        cfg.train[key] = ""
    cfg.train.stages = []
    cfg.train.student_from_teacher = False
    cfg.train.device = "auto"
    return cfg


def write_slim(cfg: DictConfig, weights: Identity, output: Path) -> None:
    """Write a detector's weights, in float16, with its classes and recipe.

    Args:
        cfg: the recipe, see :func:`recipe_for_use`.
        weights: what is written, see :func:`lowres_d2.engine.identity.recipe_of`.
        output: a ``.safetensors`` file, which is replaced.
    """
    recipe = recipe_text(cfg)
    model, _ = trained_model(cfg, weights.weights)
    tensors = {
        name: x.to("cpu", STORED if x.is_floating_point() else x.dtype).contiguous().clone()
        for name, x in model.state_dict().items()
    }
    ids = list(weights.category_ids)
    notes = {"recipe": recipe, "classes": list(weights.classes), "category_ids": ids}
    with atomic_path(output) as part:
        write_noted(tensors, part, notes)


def write_with_card(source: Path, output: Path, card: Card) -> None:
    """Write a file of weights again, with a card.

    Args:
        source: of :func:`write_slim`, or packed.
        output: file to write.
        card: of a quick model.

    Raises:
        FileExistsError: the output exists, and is not ours to replace.
    """
    notes = {**read_notes(source), CARD: card.record()}
    with own_path(output) as part:
        write_noted(load_file(source), part, notes)
