"""Check and count SeaDronesSee."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.datasets import SeaDronesSeeDataset
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.split_counts import classes_counted, counted


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = argparse.ArgumentParser(
        description="Check that SeaDronesSee is where the recipes look, and count it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    root = Path(os.environ.get("DETECTRON2_DATASETS", "datasets")) / "seadronessee"
    parser.add_argument(
        "--root", type=Path, default=root, metavar="DIR", help="folder with annotations in it"
    )
    parser.add_argument("--no-images", action="store_true", help="look at annotations only")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Check and count the data set."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    args = make_parser().parse_args(arguments)
    run_reporting_mistakes(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    parts = {
        split: SeaDronesSeeDataset(
            args.root / f"annotations/instances_{split}.json",
            args.root / f"images/{split}",
            check_images=not args.no_images,
        )
        for split in ("train", "val")
    }
    print(counted(parts))
    print(f"\n{classes_counted(parts)}")
