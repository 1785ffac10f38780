"""Command line of ``validate``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lowres_d2.cores import num_cores
from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.key_values import move_overrides, number_or_change
from lowres_d2.programs.parser import Parser

_EPILOG = """\
Exit code 1 where there is an error: something that would stop a run or make it silently wrong.
Without flags every image is decoded, JPEG at an eighth of its size, which finds broken ones."""


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=docstring_of(file_of("validate")), epilog=_EPILOG)
    parser.add_argument(
        "--config-file",
        metavar="RECIPE",
        help="recipe whose data is checked, also against its model; one for your own data takes "
        "--path, or two files of --annotations, for its data",
    )
    _add_data(parser)
    _add_reading(parser)
    parser.add_argument(
        "--size-ranges",
        metavar="NAME",
        help="size ranges: coco, aitod, aitod-64, tinyperson, tinyperson-2, plates",
    )
    parser.add_argument(
        "--size-limits",
        nargs="+",
        type=number_or_change(float),
        default=[20.0, 32.0],
        metavar="PX",
        help="sizes up to which the share of objects is printed, default 20 32",
    )
    parser.add_argument(
        "--examples", type=int, default=3, metavar="N", help="examples shown of each problem"
    )
    parser.add_argument("--json-report", metavar="FILE", help="write everything as json")
    parser.add_argument("--sheet", metavar="FILE", help="draw the suspects into this PNG")
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    """Arguments that say which data set is meant."""
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        "--annotations",
        nargs="+",
        metavar="FILE",
        help="COCO json, folder of VOC xml or of DOTA's or VisDrone's labels, list in "
        "ImageSets/Main, or WiderFace's .mat or text; the first is the training set, further ones "
        "are checked against it",
    )
    data.add_argument(
        "--path",
        metavar="FOLDER",
        help="folder of a data set in COCO's, YOLO's or VOC's form, or YOLO's data.yaml: all of "
        "its splits are checked",
    )
    parser.add_argument(
        "--format",
        choices=("coco", "yolo", "voc"),
        help="which one is meant where --path has several",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        metavar="DIR",
        help="image folders of --annotations: one for all, or one each",
    )
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME", help="classes of --annotations or --path to use"
    )


def _add_reading(parser: argparse.ArgumentParser) -> None:
    """Arguments that say how images are read."""
    reading = parser.add_mutually_exclusive_group()
    reading.add_argument("--no-images", action="store_true", help="check annotations only")
    reading.add_argument("--no-decode", action="store_true", help="read headers of images only")
    reading.add_argument(
        "--deep",
        action="store_true",
        help="decode every pixel as in training, and compare pixels in place of files",
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=178_956_970,
        metavar="N",
        help="most pixels that an image of --annotations or --path may have, default %(default)s",
    )
    parser.add_argument(
        "--workers", type=int, default=num_cores(), metavar="N", help="number of reading threads"
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ends the program where arguments do not go together."""
    parser = make_parser()
    args = parser.parse_intermixed_args(arguments)
    several = ("annotations", "images", "classes", "size_limits")
    move_overrides(args, *(name for name in several if getattr(args, name)))
    if not (args.config_file or args.annotations or args.path):
        parser.error("give the data set: --path, --annotations or --config-file")
    if args.config_file and args.annotations and len(args.annotations) != 2:
        parser.error("--annotations: with --config-file two files, to train and to evaluate on")
    if args.opts and not args.config_file:
        parser.error(f"{args.opts[0]} changes a recipe: give --config-file")
    if args.format and not args.path:
        parser.error("--format: is for --path")
    if args.images and not args.annotations:
        parser.error("--images: is for --annotations")
    if args.images and len(args.images) not in (1, len(args.annotations or ())):
        parser.error(f"--images: expected 1 or {len(args.annotations or ())} folders")
    return args
