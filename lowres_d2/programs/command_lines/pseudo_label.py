"""Command line of ``pseudo-label``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.parser import Parser
from lowres_d2.programs.weights_parser import add_weights


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=docstring_of(file_of("pseudo-label")))
    add_weights(parser)
    parser.add_argument(
        "--images",
        required=True,
        type=Path,
        metavar="FOLDER",
        help="folder of images, or a COCO json file, whose annotations are not used",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FOLDER", help="folder of the json files"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        metavar="SCORE",
        help="detections of this score or more become objects; default %(default)s",
    )
    parser.add_argument(
        "--ignore-from",
        type=float,
        default=None,
        metavar="SCORE",
        help="those of this score or more become ignore regions (iscrowd), default 0.3; equal to "
        "--threshold: none do",
    )
    parser.add_argument(
        "--held-out",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="share of the images that are for evaluation; 0: only train.json is written; default "
        "%(default)s",
    )
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_intermixed_args(arguments)
