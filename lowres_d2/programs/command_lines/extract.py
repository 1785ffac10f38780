"""Command line of ``extract``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=docstring_of(file_of("extract")))
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="checkpoint of a run")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help=".pth file to write")
    parser.add_argument("--factor", help="factor whose norms to keep, for an any-factor detector")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_args(arguments)
