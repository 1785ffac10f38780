"""Command line of ``demo``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.programs.command import file_of, summary_of
from lowres_d2.programs.key_values import move_overrides
from lowres_d2.programs.parser import Parser
from lowres_d2.programs.weights_parser import add_weights


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=summary_of(file_of("demo")))
    add_weights(parser)
    parser.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="FILE",
        help="images, folders, globs or videos",
    )
    parser.add_argument(
        "--output",
        default=Path("output/demo"),
        type=Path,
        metavar="FILE",
        help="folder, or a file for a single input, default %(default)s",
    )
    parser.add_argument(
        "--confidence-threshold",
        type=float,
        default=0.5,
        metavar="SCORE",
        help="lowest score that is drawn, default 0.5",
    )
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    args = make_parser().parse_intermixed_args(arguments)
    move_overrides(args, "input")
    return args
