"""Command line of ``sweep``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lowres_d2.programs.command import file_of, summary_of
from lowres_d2.programs.variants_parser import parse_variants, variants_parser


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    return variants_parser(
        summary_of(file_of("sweep")),
        "--factors",
        "train.init_checkpoint=FILE is needed",
        metavar="FACTOR",
        help="downsampling factors, the first is the reference; default 1 2 4 8 16 32, or those of "
        "an any-factor detector",
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return parse_variants(make_parser(), arguments)
