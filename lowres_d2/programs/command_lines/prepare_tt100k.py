"""Command line of ``prepare-tt100k``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lowres_d2.programs.root_parser import root_parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = root_parser("Tsinghua-Tencent 100K", "tt100k", "of annotations.json")
    parser.add_argument("--no-images", action="store_true", help="look at annotations only")
    parser.add_argument(
        "--coco", action="store_true", help="write tt100k_train.json and tt100k_test.json there"
    )
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_args(arguments)
