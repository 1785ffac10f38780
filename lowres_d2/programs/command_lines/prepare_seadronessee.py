"""Command line of ``prepare-seadronessee``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lowres_d2.programs.root_parser import root_parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = root_parser("SeaDronesSee", "seadronessee", "with annotations in it")
    parser.add_argument("--no-images", action="store_true", help="look at annotations only")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_args(arguments)
