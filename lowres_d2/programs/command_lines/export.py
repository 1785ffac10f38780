"""Command line of ``export``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.key_values import move_overrides
from lowres_d2.programs.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=docstring_of(file_of("export")))
    parser.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="the folder of a run, a file of weights that says its recipe, or a recipe",
    )
    parser.add_argument("--weights", metavar="FILE", help="of a recipe")
    parser.add_argument(
        "--format",
        choices=("onnx", "openvino", "executorch"),
        help="by default what the name of the output says: .onnx, .xml or .pte",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="file to write")
    parser.add_argument(
        "--images",
        nargs="+",
        metavar="FILE",
        help="images for the check; by default 20 generated ones; a format that takes one size "
        "alone takes theirs",
    )
    parser.add_argument(
        "--table",
        nargs="+",
        metavar="RECIPE",
        help="only print which of these recipes can be exported to which format",
    )
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser()
    args = parser.parse_intermixed_args(arguments)
    move_overrides(args, "table", "images")
    if not args.table and not (args.source and args.output):
        parser.error("SOURCE and --output are needed, or --table")
    return args
