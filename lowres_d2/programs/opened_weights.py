"""Weights as a program is given them, to use them on a user's own images."""

from __future__ import annotations

import argparse
from pathlib import Path

from lowres_d2.deploy.export import SUFFIXES
from lowres_d2.engine.identity import Identity, recipe_of

from omegaconf import DictConfig


def check_not_exported(weights: str) -> None:
    """Refuse an exported file.

    Raises:
        ValueError: it is one, by its name.
    """
    if Path(weights).suffix in SUFFIXES and not Path(weights).is_dir():
        raise ValueError(
            f"{weights}: is an exported file, which lowres_d2.load takes in Python: give this "
            "program the run or quick model that was exported"
        )


def opened_weights(args: argparse.Namespace) -> tuple[DictConfig, Identity]:
    """Their recipe, and what they are; where they know little, that is printed.

    Args:
        args: with ``config_file``, ``weights`` and ``opts``.

    Raises:
        ValueError: neither is a recipe given, nor do the weights say what theirs is; or they are in
            an exported file.
        FileNotFoundError: there is no such recipe, or there are no such weights.
    """
    check_not_exported(args.weights)
    cfg, weights = recipe_of(args.config_file, args.weights, args.opts)
    if weights.knows:
        print(f"{args.weights}: a quick model, which knows {weights.knows} and nothing else")
    return cfg, weights
