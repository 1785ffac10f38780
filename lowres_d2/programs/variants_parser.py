"""What the command lines of ``sweep`` and ``tiles`` have in common."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from lowres_d2.programs.key_values import move_overrides
from lowres_d2.programs.parser import Parser


def variants_parser(
    description: str, flag: str, needed: str, **settings: Any
) -> argparse.ArgumentParser:
    """A parser of a program that compares variants.

    Args:
        description: of the program.
        flag: the option of several values that says which variants there are.
        needed: the overrides that are needed, as text.
        settings: of that option, for ``add_argument``.
    """
    parser = Parser(description=description)
    parser.add_argument(
        "--config-file", required=True, metavar="RECIPE", help="recipe of the detector and the data"
    )
    parser.add_argument(flag, nargs="+", default=(), dest="values", **settings)
    parser.add_argument(
        "--quick",
        type=int,
        default=0,
        metavar="N",
        help="evaluate on N images (200, say) spread over the test set; the metric's name says so",
    )
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help=f"key=value; {needed}")
    return parser


def parse_variants(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> argparse.Namespace:
    """Read a command line with :func:`variants_parser`'s parser."""
    args = parser.parse_intermixed_args(arguments)
    if args.quick < 0:
        parser.error(f"--quick {args.quick}: expected a number of images")
    move_overrides(args, "values")
    return args
