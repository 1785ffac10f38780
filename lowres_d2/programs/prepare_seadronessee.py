"""Check and count SeaDronesSee."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from lowres_d2.data.datasets import SeaDronesSeeDataset
from lowres_d2.programs.command_lines.prepare_seadronessee import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.split_counts import classes_counted, counted


def main(arguments: Sequence[str] | None = None) -> None:
    """Check and count the data set."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    args = parse(arguments)
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
