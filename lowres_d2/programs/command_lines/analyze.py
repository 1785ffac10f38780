"""Command line of ``analyze``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=docstring_of(file_of("analyze")))
    parser.add_argument(
        "--config-file",
        metavar="RECIPE",
        help="recipe of the model; not needed with a run's --weights",
    )
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--size",
        nargs=2,
        type=int,
        metavar=("H", "W"),
        help="on noise of this full-resolution size",
    )
    sizes.add_argument(
        "--images",
        type=int,
        metavar="N",
        help="number of test images to average over; default 1, or noise without data",
    )
    parser.add_argument(
        "--rule",
        choices=("macs", "mmcv"),
        default="macs",
        help="what counts: multiply-accumulates alone, or as mmcv counts, whose FLOPs are those of "
        "papers with mmdetection",
    )
    parser.add_argument("--latency", action="store_true", help="time the models too")
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="weights to time with, packed ones too, the folder of a run, or the name of a quick "
        "model; with random ones post-processing is too fast",
    )
    parser.add_argument("--json", action="store_true", help="print json instead of a table")
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser()
    args = parser.parse_intermixed_args(arguments)
    if not (args.config_file or args.weights):
        parser.error("--config-file RECIPE is needed, or --weights of a run")
    return args
