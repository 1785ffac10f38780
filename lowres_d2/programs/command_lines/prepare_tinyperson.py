"""Command line of ``prepare-tinyperson``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lowres_d2.programs.root_parser import root_parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = root_parser("TinyPerson", "tiny_set", "with annotations in it")
    parser.add_argument(
        "--task",
        choices=("all", "sea", "earth", "both"),
        default="all",
        help="whose objects are counted",
    )
    parser.add_argument(
        "--dense",
        choices=("leave_out", "ignore", "object"),
        default="leave_out",
        help="what images with more than 200 boxes are for",
    )
    parser.add_argument("--no-images", action="store_true", help="look at annotations only")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_args(arguments)
