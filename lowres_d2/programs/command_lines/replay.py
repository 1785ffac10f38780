"""Command line of ``replay``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=docstring_of(file_of("replay")))
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="non_finite_<iteration>.pth of a run"
    )
    parser.add_argument(
        "--config-file",
        required=True,
        metavar="RECIPE",
        help="the run's recipe, or its output folder's config.yaml",
    )
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="the run's own changes to it")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_intermixed_args(arguments)
