"""Command line of ``prepare-visdrone``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lowres_d2.programs.root_parser import root_parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = root_parser("VisDrone-DET", "visdrone", "of VisDrone2019-DET-train")
    parser.add_argument(
        "--coco", action="store_true", help="write visdrone_train.json and so on there"
    )
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_args(arguments)
