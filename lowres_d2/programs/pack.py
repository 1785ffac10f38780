"""Pack a trained 1-bit detector: a bit for each weight, quick on CPUs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.deploy.one_bit import PackedConv2d, PackedLinear, pack, save_packed
from lowres_d2.deploy.one_bit.file import check_name
from lowres_d2.engine.build import build_model
from lowres_d2.engine.checkpoint import load_weights
from lowres_d2.engine.identity import Identity, recipe_of, recipe_text
from lowres_d2.own_files import check_own, own_path
from lowres_d2.programs.command_lines.pack import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes

from omegaconf import DictConfig
from torch import nn


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    args = parse(arguments)
    run_reporting_mistakes(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    check_name(args.output)
    check_own([args.output])
    cfg, weights = recipe_of(args.config_file, args.weights)
    packed = pack_weights(cfg, weights, args.output)
    number = sum(isinstance(layer, PackedConv2d | PackedLinear) for layer in packed.modules())
    size = args.output.stat().st_size / 1e6
    print(f"{number} 1-bit layers packed in {args.output}, {size:.2f} MB in all")


def pack_weights(cfg: DictConfig, weights: Identity, output: Path) -> nn.Module:
    """Write the packed detector of a recipe with its weights.

    Args:
        cfg: the recipe.
        weights: what is packed, see :func:`lowres_d2.engine.identity.recipe_of`.
        output: file to write.

    Returns:
        The packed detector.

    Raises:
        FileExistsError: the file exists, and is not ours to replace.
    """
    cfg.train.device = "cpu"
    recipe = recipe_text(cfg)
    model = build_model(cfg).eval()
    load_weights(model, weights.weights, complete=True, use_average=cfg.train.ema.enabled)
    packed = pack(model)
    with own_path(output) as part:
        save_packed(packed, part, recipe, weights.classes, weights.category_ids)
    return packed
