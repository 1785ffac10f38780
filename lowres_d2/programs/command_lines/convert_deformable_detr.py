"""Command line of ``convert-deformable-detr``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=docstring_of(file_of("convert-deformable-detr")))
    parser.add_argument(
        "recipe", metavar="RECIPE", help="whose model has the variant and size of the weights"
    )
    parser.add_argument(
        "weights", type=Path, metavar="WEIGHTS", help="their .pth, .bin or .safetensors file"
    )
    parser.add_argument("output", type=Path, metavar="OUTPUT", help=".pth file to write")
    parser.add_argument(
        "--coco",
        action="store_true",
        help="keep 80 of 91 classes: those that COCO has, in the order of their ids",
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_intermixed_args(arguments)
