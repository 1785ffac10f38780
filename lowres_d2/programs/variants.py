"""The command line of programs that compare variants of one detector: ``sweep`` and ``tiles``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from lowres_d2.engine.processes.log_files import logging_to
from lowres_d2.programs.key_values import move_overrides
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.parser import Parser
from lowres_d2.recipes.load import load_recipe

from omegaconf import DictConfig


def variants_parser(
    description: str, flag: str, needed: str, **settings: Any
) -> argparse.ArgumentParser:
    """A parser of a program that compares variants.

    Args:
        description: of the program.
        flag: the option of several values that says which variants there are.
        needed: the overrides that are needed, as text.
        settings: of that option, for ``add_argument``.
    """
    parser = Parser(description=description)
    parser.add_argument(
        "--config-file", required=True, metavar="RECIPE", help="recipe of the detector and the data"
    )
    parser.add_argument(flag, nargs="+", default=(), dest="values", **settings)
    parser.add_argument(
        "--quick",
        type=int,
        default=0,
        metavar="N",
        help="evaluate on N images (200, say) spread over the test set; the metric's name says so",
    )
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help=f"key=value; {needed}")
    return parser


def run_program(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    run: Callable[[DictConfig, Sequence[str], int], Any],
) -> None:
    """Run a program that compares variants.

    Args:
        parser: from :func:`variants_parser`.
        arguments: of the command line; None: this process's.
        run: takes the recipe, the values of the program's own option, and the number of images.
    """
    args = parser.parse_intermixed_args(arguments)
    if args.quick < 0:
        parser.error(f"--quick {args.quick}: expected a number of images")
    move_overrides(args, "values")

    def logged() -> None:
        cfg = load_recipe(args.config_file, args.opts)
        with logging_to(cfg.train.output_dir):
            run(cfg, args.values, args.quick)

    run_reporting_mistakes(logged)
