"""Command line of ``make-plates``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.parser import Parser
from lowres_d2.programs.root_parser import data_root


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(
        description=docstring_of(file_of("make-plates")),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--root", default=data_root("plates"), metavar="DIR", help="folder of generated sets"
    )
    parser.add_argument(
        "--split", default="train", choices=("train", "val", "test"), help="which split"
    )
    parser.add_argument("--num-images", type=int, default=2000, help="number of images")
    parser.add_argument("--seed", type=int, default=0, help="of layouts and pixels")
    parser.add_argument(
        "--variant",
        default="standard",
        choices=("standard", "tiny", "large", "classification"),
        help="sizes of plates and images, or plates to classify",
    )
    parser.add_argument(
        "--size-range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="other sizes, in pixels"
    )
    parser.add_argument("--photos", metavar="DIR", help="photographs for the backgrounds")
    parser.add_argument("--sheet", metavar="FILE", help="draw only a sheet, into this PNG")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    if args.variant == "classification" and args.photos:
        parser.error("--variant classification takes no --photos")
    return args
