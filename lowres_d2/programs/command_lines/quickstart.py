"""Command line of ``quickstart``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.parser import Parser
from lowres_d2.programs.trial import HINT


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(
        description=docstring_of(file_of("quickstart")),
        epilog=HINT,
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("output/quickstart"),
        metavar="DIR",
        help="folder of runs and report, default %(default)s",
    )
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="changes to all recipes")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_intermixed_args(arguments)
