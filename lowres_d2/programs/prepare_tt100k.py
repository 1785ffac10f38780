"""Check, count and convert Tsinghua-Tencent 100K."""

from __future__ import annotations

import argparse
import logging
import math
from collections import Counter
from collections.abc import Sequence

from lowres_d2.data.datasets.tt100k import TT100K_CLASSES, Tt100kDataset, count_signs, read_tt100k
from lowres_d2.own_files import check_own
from lowres_d2.programs.command_lines.prepare_tt100k import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.split_counts import write_coco

from tabulate import tabulate

EDGES = (32, 96, 400)  # the benchmark's sizes end before these


def main(arguments: Sequence[str] | None = None) -> None:
    """Check and count the data set, and write what the arguments ask for."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    args = parse(arguments)
    run_reporting_mistakes(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    annotations = args.root / "annotations.json"
    written = {split: args.root / f"tt100k_{split}.json" for split in ("train", "test")}
    if args.coco:
        check_own(written.values())
    parts = {
        split: Tt100kDataset(
            annotations, args.root, split, TT100K_CLASSES, check_images=not args.no_images
        )
        for split in written
    }
    rows = [[split, len(part), *_sizes(part)] for split, part in parts.items()]
    size_ranges = ["<32 px", "32-96 px", "96-400 px", ">=400 px"]
    print(tabulate(rows, ["split", "images", "signs", *size_ranges], tablefmt="github"))
    counts = count_signs(read_tt100k(annotations).images)
    frequent = {name for name, number in counts.items() if number > 100}
    print(f"\n{len(counts)} classes, {len(frequent)} with more than 100 signs in train and test")
    different = sorted(frequent ^ set(TT100K_CLASSES))
    if different:
        shown = ", ".join(f"{name} ({counts[name]})" for name in different)
        print(f"the benchmark's {len(TT100K_CLASSES)} classes differ from these in: {shown}")
    if args.coco:
        for split, part in parts.items():
            write_coco(part, written[split])
            print(written[split])


def _sizes(part: Tt100kDataset) -> list[int]:
    """Number of signs, and of those in each size range, by the longer side."""
    sides = [max(a["bbox"][2:]) for a in part.coco_dict()["annotations"]]
    edges = (0, *EDGES, math.inf)
    counts = Counter(sum(side >= edge for edge in edges) - 1 for side in sides)
    return [len(sides), *(counts[k] for k in range(len(edges) - 1))]
