"""Command line of ``reproduce``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.programs.command import file_of, summary_of
from lowres_d2.programs.parser import Parser
from lowres_d2.programs.quick_benchmarks import BENCHMARKS
from lowres_d2.programs.trial import HINT


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=summary_of(file_of("reproduce")), epilog=HINT)
    parser.add_argument("benchmark", choices=sorted(BENCHMARKS), help="the paper, and its factor")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder of runs and report"
    )
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="train with seeds 1 to N, default 1"
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="also train the variants and controls that the method is compared with",
    )
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="changes to all recipes")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser()
    args = parser.parse_intermixed_args(arguments)
    if args.seeds < 1:
        parser.error("--seeds: at least 1")
    return args
