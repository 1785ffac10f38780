"""Command line of ``compare``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.programs.command import file_of, summary_of
from lowres_d2.programs.parser import Parser
from lowres_d2.programs.trial import HINT


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(
        description=summary_of(file_of("compare")),
        epilog=HINT,
    )
    parser.add_argument(
        "--factor",
        type=int,
        choices=(2, 4),
        default=2,
        help="how many times smaller the images become, default %(default)s",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("output/compare"),
        metavar="DIR",
        help="folder of runs and report, default %(default)s",
    )
    parser.add_argument(
        "opts",
        nargs="+",
        metavar="KEY=VALUE",
        help="data.path=FOLDER, or data.train_json=FILE data.val_json=FILE, and changes to all "
        "recipes",
    )
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_intermixed_args(arguments)
