"""Command line of ``make-models``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.key_values import move_overrides
from lowres_d2.programs.made_models import MADE
from lowres_d2.programs.parser import Parser
from lowres_d2.programs.trial import HINT


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(
        description=docstring_of(file_of("make-models")),
        epilog=HINT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the models; their runs are in its folder runs",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"make these alone, of {' '.join(MADE)}",
    )
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="changes to all recipes")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser()
    args = parser.parse_intermixed_args(arguments)
    move_overrides(args, "only")
    for name in args.only:
        if name not in MADE:
            parser.error(f"--only: invalid choice: {name!r} (choose from {', '.join(MADE)})")
    return args
