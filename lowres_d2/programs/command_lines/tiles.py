"""Command line of ``tiles``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.variants_parser import parse_variants, variants_parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    return variants_parser(
        docstring_of(file_of("tiles")),
        "--unsure",
        "train.init_checkpoint=FILE and +tiles.first=FACTOR are needed",
        metavar="LOW,HIGH",
        help="scores of the thumbnail's detections whose tiles are looked at; default those of "
        "+tiles.unsure",
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return parse_variants(make_parser(), arguments)
