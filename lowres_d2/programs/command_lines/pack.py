"""Command line of ``pack``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=docstring_of(file_of("pack")))
    parser.add_argument(
        "weights", type=Path, metavar="WEIGHTS", help="checkpoint, or the folder of a run"
    )
    parser.add_argument("output", type=Path, metavar="OUTPUT", help=".safetensors file to write")
    parser.add_argument(
        "--config-file",
        metavar="RECIPE",
        help="recipe that the weights belong to; not needed where they are a run's",
    )
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_args(arguments)
