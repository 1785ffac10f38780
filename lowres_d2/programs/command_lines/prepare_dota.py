"""Command line of ``prepare-dota``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.cores import num_cores
from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.parser import Parser
from lowres_d2.programs.root_parser import data_root


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(
        description=docstring_of(file_of("prepare-dota")),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--root", type=Path, default=data_root("dota"), metavar="DIR", help="folder of splits"
    )
    parser.add_argument(
        "--splits", nargs="+", default=["train", "val"], metavar="NAME", help="folders in it"
    )
    parser.add_argument(
        "--labels", default="labelTxt", metavar="NAME", help="folder of a split's label files"
    )
    parser.add_argument(
        "--invalid-boxes",
        choices=["error", "skip"],
        default="error",
        help="what to do with objects that have no area or lie outside their image",
    )
    parser.add_argument("--count", action="store_true", help="count only, and cut nothing")
    parser.add_argument("--size", type=int, default=1024, help="side of a tile in pixels")
    parser.add_argument("--overlap", type=int, default=200, help="of neighbouring tiles, in pixels")
    parser.add_argument(
        "--least-inside",
        type=float,
        default=0.7,
        metavar="SHARE",
        help="of an object's area on a tile, below which it is an ignore region there",
    )
    parser.add_argument(
        "--difficult",
        choices=["ignore", "object"],
        default="ignore",
        help="what difficult objects are: ignore regions, or objects like others",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder of the tiles, ROOT/tiles_SIZE_OVERLAP"
    )
    parser.add_argument(
        "--workers", type=int, default=num_cores(), metavar="N", help="number of processes"
    )
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_args(arguments)
