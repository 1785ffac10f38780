"""Command line of ``reproduce``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.programs.command import file_of, summary_of
from lowres_d2.programs.parser import Parser
from lowres_d2.programs.quick_benchmarks import BENCHMARKS
from lowres_d2.programs.trial import HINT

# A line each, with the core-minutes that a README has.
_LINES = {
    "bottom_heavy": "bottom-heavy and standard backbones, from scratch and pre-trained (32)",
    "dfd": "classifiers of 8x8 and 16x16 plates, with DFD, without, super-resolved first (25)",
    "dfd-cifar10": "the same on CIFAR-10, which has to be there",
    "dfd-lambda": "seven weights of DFD's loss, three networks",
    "dfr_det": "1-bit detectors with each form of foreground refinement",
    "dfr_det-weights": "weights of the losses of a 1-bit detector",
    "feature_sr": "super-resolved features of small proposals, supervised in three ways (42)",
    "thumbdet": "4x thumbnails: bicubic, learned, distilled, and smaller detectors (43)",
    "thumbdet-2x": "the same with 2x thumbnails",
    "thumbdet-detr": "4x thumbnails for Deformable DETR, each part of the method (78)",
}


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    lines = "\n".join(f"  {name:16} {text}" for name, text in _LINES.items())
    parser = Parser(
        description=summary_of(file_of("reproduce")),
        epilog=f"benchmarks (core-minutes of one seed, where measured):\n{lines}\n\n{HINT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
