"""Command line of ``page``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(
        description=docstring_of(file_of("page")),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        nargs="+",
        default=[],
        metavar="[NAME=]RUN",
        help="folders of runs, files of their weights, names of quick models, or RECIPE@WEIGHTS; "
        "default: quick models, one of each kind",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 lets other machines in, default %(default)s",
    )
    parser.add_argument(
        "--port", type=int, metavar="N", help="default: the first one from 7860 on that is free"
    )
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_args(arguments)
