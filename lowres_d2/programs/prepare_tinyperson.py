"""Check and count TinyPerson."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from lowres_d2.data.datasets import TinyPersonDataset
from lowres_d2.programs.command_lines.prepare_tinyperson import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.split_counts import classes_counted, counted

# Of the data set's files; those of tiles have all objects of an image that lie on a tile.
FILES = {
    "train": "annotations/tiny_set_train.json",
    "test": "annotations/tiny_set_test.json",
    "train tiles": "annotations/corner/task/tiny_set_train_sw640_sh512_all.json",
    "test tiles": "annotations/corner/task/tiny_set_test_sw640_sh512_all.json",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Check and count the data set."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    args = parse(arguments)
    run_reporting_mistakes(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    parts = {}
    for name, file in FILES.items():
        # Tiles can be left out of a copy: they follow from the whole images.
        if "tiles" in name and (not (args.root / file).is_file() or args.task != "all"):
            continue
        parts[name] = TinyPersonDataset(
            args.root / file,
            args.root / name.split()[0],
            args.task,
            # What the benchmark's evaluator knows.
            ignored=("ignore", "uncertain"),
            dense=args.dense,
            check_images=not args.no_images,
        )
    print(counted(parts))
    dense = ", ".join(f"{part.num_dense} of {name}" for name, part in parts.items())
    print(f"\ndense images left out: {dense}\n")
    print(classes_counted(parts))
