"""Runs of programs that compare variants of one detector: ``sweep`` and ``tiles``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from lowres_d2.engine.processes.log_files import logging_to
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.recipes.load import load_recipe

from omegaconf import DictConfig


def run_program(
    args: argparse.Namespace,
    run: Callable[[DictConfig, Sequence[str], int], Any],
) -> None:
    """Run a program that compares variants.

    Args:
        args: of its command line, see :mod:`lowres_d2.programs.variants_parser`.
        run: takes the recipe, the values of the program's own option, and the number of images.
    """

    def logged() -> None:
        cfg = load_recipe(args.config_file, args.opts)
        with logging_to(cfg.train.output_dir):
            run(cfg, args.values, args.quick)

    run_reporting_mistakes(logged)
