"""Command line of ``receptive-field``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.key_values import move_overrides, number_or_change
from lowres_d2.programs.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=docstring_of(file_of("receptive-field")))
    parser.add_argument(
        "--config-file", required=True, metavar="RECIPE", help="recipe of the detector"
    )
    parser.add_argument(
        "--widths",
        nargs="+",
        type=number_or_change(int),
        default=[4],
        metavar="N",
        help="widths of regions in cells; default 4",
    )
    parser.add_argument(
        "--image",
        type=int,
        default=1600,
        help="width of the detector's input in pixels; default 1600",
    )
    parser.add_argument(
        "--ratio",
        type=int,
        default=2,
        help="of downsampling, and of the twin's dilation; default 2",
    )
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    args = make_parser().parse_intermixed_args(arguments)
    move_overrides(args, "widths")
    return args
