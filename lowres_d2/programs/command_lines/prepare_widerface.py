"""Command line of ``prepare-widerface``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lowres_d2.programs.root_parser import root_parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = root_parser("WiderFace", "widerface", "of WIDER_train")
    parser.add_argument(
        "--coco", action="store_true", help="write widerface_train.json and widerface_val.json"
    )
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_args(arguments)
