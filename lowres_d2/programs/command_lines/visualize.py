"""Command line of ``visualize``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.key_values import move_overrides
from lowres_d2.programs.parser import Parser

PARTS = (
    "thumbnails",
    "detections",
    "outcomes",
    "saliency",
    "classified",
    "confusion",
    "super-resolved",
    "trade-off",
    "gains",
    "all",
    "data",
    "stages",
)


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(
        description=docstring_of(file_of("visualize")),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", choices=PARTS, help="which figure to draw")
    parser.add_argument(
        "--runs",
        required=True,
        nargs="+",
        metavar="[NAME=]RUN",
        help="runs in the order of the columns",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="folder for the figures"
    )
    parser.add_argument(
        "--images",
        type=int,
        default=2,
        metavar="N",
        help="images of each kind, default %(default)s",
    )
    roles = parser.add_argument_group(
        "runs that the figure of detections or classified images compares, by name"
    )
    roles.add_argument("--ours", help="default: the last run")
    roles.add_argument("--baseline", help="default: the first other low-resolution run")
    roles.add_argument("--full", help="default: the first full-resolution run, if there is one")
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="changes to all recipes")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    # Overrides stand after the flags, apart from `part`.
    args = make_parser().parse_intermixed_args(arguments)
    move_overrides(args, "runs")
    return args
