"""Generate the plates data set before its first use, or draw a sheet."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.plates.classification import PlatesClassification
from lowres_d2.data.plates.dataset import SPLITS, VARIANTS, PlatesDataset
from lowres_d2.data.plates.sheet import plate_sheet
from lowres_d2.programs.command import docstring_of
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.parser import Parser

_CLASSIFICATION = "classification"


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the set or the sheet that the arguments ask for, and print where it is."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args = _parse(arguments)
    run_reporting_mistakes(lambda: print(_make(args)))


def default_root() -> Path:
    """Where the recipes look for generated sets too."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets")) / "plates"


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(
        description=docstring_of(__file__),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--root", default=default_root(), metavar="DIR", help="folder of generated sets"
    )
    parser.add_argument("--split", default="train", choices=SPLITS, help="which split")
    parser.add_argument("--num-images", type=int, default=2000, help="number of images")
    parser.add_argument("--seed", type=int, default=0, help="of layouts and pixels")
    parser.add_argument(
        "--variant",
        default="standard",
        choices=[*VARIANTS, _CLASSIFICATION],
        help="sizes of plates, or plates to classify",
    )
    parser.add_argument(
        "--size-range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="other sizes, in pixels"
    )
    parser.add_argument("--photos", metavar="DIR", help="photographs for the backgrounds")
    parser.add_argument("--sheet", metavar="FILE", help="draw only a sheet, into this PNG")
    return parser


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser()
    args = parser.parse_args(arguments)
    if args.variant == _CLASSIFICATION and args.photos:
        parser.error(f"--variant {_CLASSIFICATION} takes no --photos")
    return args


def _make(args: argparse.Namespace) -> str:
    """Do it, and say in a line what is where."""
    if args.sheet:
        plate_sheet(args.sheet, args.seed)
        return args.sheet
    common = (args.root, args.split, args.num_images, args.seed)
    if args.variant == _CLASSIFICATION:
        return str(PlatesClassification(*common, args.size_range))
    return str(PlatesDataset(*common, args.variant, args.size_range, args.photos))
