"""A recipe's model with all of its weights, ready to detect."""

from __future__ import annotations

from pathlib import Path

from lowres_d2.deploy.one_bit import load_packed
from lowres_d2.engine.build import build_model
from lowres_d2.engine.checkpoint import LoadReport, load_weights, read_checkpoint
from lowres_d2.modeling.run_weights import weights_file

from omegaconf import DictConfig
from torch import nn


def trained_model(cfg: DictConfig, weights: str | Path) -> tuple[nn.Module, LoadReport]:
    """The recipe's model in evaluation mode, and how its weights were loaded.

    Args:
        cfg: the recipe.
        weights: a checkpoint or its address, the folder of a run, or a file of
            ``lowres-d2 pack``, whose model runs on the CPU.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is broken, or does not have all of the model's weights.
    """
    model = build_model(cfg)
    path = weights_file(weights)
    contents = read_checkpoint(path) if str(path).endswith(".safetensors") else {}
    if "packed" in contents:
        model = load_packed(model, path)
        total = len(contents["model"])
        classes, ids = list(contents["classes"]), list(contents["category_ids"])
        report = LoadReport(
            str(path),
            total=total,
            of_file=total,
            classes=classes,
            category_ids=ids,
            recipe=contents["recipe"],
        )
    else:
        average = cfg.train.ema.enabled
        report = load_weights(model, path, complete=True, use_average=average)
    # In training mode its forward pass would run the teacher too.
    return model.eval(), report
