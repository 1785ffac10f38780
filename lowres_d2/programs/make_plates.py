"""Generate the plates data set before its first use, or draw a sheet."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from lowres_d2.data.plates.classification import PlatesClassification
from lowres_d2.data.plates.dataset import PlatesDataset
from lowres_d2.data.plates.sheet import plate_sheet
from lowres_d2.programs.command_lines.make_plates import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes

_CLASSIFICATION = "classification"


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the set or the sheet that the arguments ask for, and print where it is."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args = parse(arguments)
    run_reporting_mistakes(lambda: print(_make(args)))


def _make(args: argparse.Namespace) -> str:
    """Do it, and say in a line what is where."""
    if args.sheet:
        plate_sheet(args.sheet, args.seed)
        return args.sheet
    common = (args.root, args.split, args.num_images, args.seed)
    if args.variant == _CLASSIFICATION:
        return str(PlatesClassification(*common, args.size_range))
    return str(PlatesDataset(*common, args.variant, args.size_range, args.photos))
