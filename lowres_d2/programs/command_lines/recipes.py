"""Command line of ``recipes``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=docstring_of(file_of("recipes")))
    parser.add_argument("words", nargs="*", metavar="WORD", help="all of them must be there")
    parser.add_argument("--names", action="store_true", help="paths alone, one a line")
    parser.add_argument(
        "--keys", metavar="RECIPE", help="list the keys of a recipe that key=value can change"
    )
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_args(arguments)
