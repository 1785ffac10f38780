"""Command line of ``crop``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.cores import num_cores
from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.key_values import move_overrides, number_or_change
from lowres_d2.programs.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=docstring_of(file_of("crop")))
    parser.add_argument(
        "--annotations", type=Path, metavar="FILE", help="COCO json file of the data set"
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="folder of its images, if not beside it"
    )
    parser.add_argument(
        "--config-file", metavar="RECIPE", help="a recipe with the data set, instead of the file"
    )
    parser.add_argument(
        "--split", choices=["train", "test"], default="train", help="of the recipe, default train"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder of the crops"
    )
    parser.add_argument(
        "--preset",
        choices=("bottom-heavy", "tinyperson", "dota"),
        default="bottom-heavy",
        help="size and overlap: bottom-heavy 640x512, overlap 30; tinyperson 640x512, overlap 50; "
        "dota 1024x1024, overlap 200",
    )
    parser.add_argument(
        "--size",
        type=number_or_change(int),
        nargs="+",
        metavar="N",
        help="of a crop: height and width, or one side",
    )
    parser.add_argument(
        "--overlap",
        type=number_or_change(int),
        nargs="+",
        metavar="N",
        help="of neighbouring crops, likewise",
    )
    parser.add_argument(
        "--least-inside",
        type=float,
        metavar="SHARE",
        help="of an object's area on a crop, below which it is an ignore region there, default 0.7",
    )
    parser.add_argument(
        "--workers", type=int, default=num_cores(), metavar="N", help="number of processes"
    )
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    args = make_parser().parse_intermixed_args(arguments)
    move_overrides(args, *(name for name in ("size", "overlap") if getattr(args, name)))
    return args
