"""Command line of ``convert-data``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=docstring_of(file_of("convert-data")))
    parser.add_argument("source", type=Path, metavar="SOURCE", help="file or folder of annotations")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="COCO json file to write")
    parser.add_argument(
        "--from",
        dest="form",
        default="auto",
        metavar="FORMAT",
        help="labelme, cvat, label-studio, openimages, hf, ... as panlabel names it; by default it "
        "is recognised",
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="folder of the images; default: the source's"
    )
    parser.add_argument(
        "--allow-lossy",
        action="store_true",
        help="convert also what COCO's format cannot hold in full, such as attributes; what is "
        "lost is printed",
    )
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_args(arguments)
