"""Check, count and convert VisDrone-DET."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from lowres_d2.data.datasets import VisDroneDataset
from lowres_d2.own_files import check_own
from lowres_d2.programs.command_lines.prepare_visdrone import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.split_counts import classes_counted, counted, write_coco

_SPLITS = ("train", "val", "test-dev")


def main(arguments: Sequence[str] | None = None) -> None:
    """Check and count the data set, and write what the arguments ask for."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    args = parse(arguments)
    run_reporting_mistakes(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    folders = {split: args.root / f"VisDrone2019-DET-{split}" for split in _SPLITS}
    # The last one need not be there.
    used = {split: folder for split, folder in folders.items() if folder.is_dir()}
    used = {split: folders[split] for split in ("train", "val")} | used
    written = {split: args.root / f"visdrone_{split}.json" for split in used}
    if args.coco:
        check_own(written.values())
    # A few of its boxes have no area.
    parts = {split: VisDroneDataset(folder, invalid_boxes="skip") for split, folder in used.items()}
    print(counted(parts))
    print(f"\n{classes_counted(parts)}")
    if args.coco:
        for split, part in parts.items():
            write_coco(part, written[split])
            print(written[split])
