"""Check and count DOTA, and cut its images into tiles.

Each split becomes a folder with the tiles' images and annotations.json in COCO's form, in which
objects have the horizontal boxes around them.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.crops import write_crops
from lowres_d2.data.datasets.boxes import BoxPolicy
from lowres_d2.data.datasets.dota import (
    DOTA_CLASSES,
    DotaObject,
    DotaSplit,
    TileRules,
    check_dota_classes,
    find_dota_split,
    read_dota_labels,
    sources_of_split,
)
from lowres_d2.data.datasets.dota.dataset import image_size
from lowres_d2.data.generated import ensure_generated
from lowres_d2.programs.command_lines.prepare_dota import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes

import numpy as np
from tabulate import tabulate

VERSION = 2  # of the tiles: older ones are made anew
EDGES = (0, 2, 8, 16, 32, 64, np.inf)  # sizes end before these
SIZES = ("<2 px", "2-8", "8-16", "16-32", "32-64", ">=64 px")


def main(arguments: Sequence[str] | None = None) -> None:
    """Check and count the data set, and cut it."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    args = parse(arguments)
    run_reporting_mistakes(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    rules = TileRules(args.size, args.overlap, args.least_inside, args.difficult)
    splits = {name: find_dota_split(args.root / name, args.labels) for name in args.splits}
    objects = {name: _objects(split, args.invalid_boxes) for name, split in splits.items()}
    print(_counts({name: [o for rows in s.values() for o in rows] for name, s in objects.items()}))
    if args.count:
        return
    output = args.output or args.root / f"tiles_{rules.size}_{rules.overlap}"
    for name, split in splits.items():
        _write(output / name, split, objects[name], rules, args.workers)
        content = json.loads((output / name / "annotations.json").read_text(encoding="utf-8"))
        owners = [x["image_id"] for x in content["annotations"] if not x["iscrowd"]]
        print(
            f"{output / name}: {len(content['images'])} tiles of {len(split.files)} images, "
            f"{len(owners)} objects on {len(set(owners))} of them, "
            f"{len(content['annotations']) - len(owners)} ignore regions"
        )


def _objects(split: DotaSplit, invalid_boxes: str) -> dict[str, list[DotaObject]]:
    """Those that can be cut, as ``DotaDataset`` reads them."""
    found = {name: read_dota_labels(path) for name, (_, path) in split.files.items()}
    names = (labelled.name for rows in found.values() for labelled in rows)
    check_dota_classes(split.labels, names, DOTA_CLASSES)
    policy = BoxPolicy(split.labels, invalid_boxes)
    for name, (path, _) in split.files.items():
        width, height = image_size(path)
        image = {"file_name": str(path), "height": height, "width": width}
        found[name] = [
            labelled
            for number, labelled in enumerate(found[name], start=1)
            if policy.admit(labelled.bbox, image, f"object {number} ({labelled.name})") is not None
        ]
    policy.close()
    return found


def _counts(objects: dict[str, list[DotaObject]]) -> str:
    """Numbers of objects by split and size, and by class, as tables."""
    rows = [
        [
            name,
            len(found),
            sum(labelled.difficult > 0 for labelled in found),
            *np.histogram([np.sqrt(o.bbox[2] * o.bbox[3]) for o in found], EDGES)[0],
        ]
        for name, found in objects.items()
    ]
    by_size = tabulate(rows, ["split", "objects", "difficult", *SIZES], tablefmt="github")
    per_class = [Counter(labelled.name for labelled in found) for found in objects.values()]
    rows = [[name, *(counts[name] for counts in per_class)] for name in DOTA_CLASSES]
    return f"{by_size}\n\n{tabulate(rows, ['class', *objects], tablefmt='github')}\n"


def _write(
    folder: Path,
    split: DotaSplit,
    objects: dict[str, list[DotaObject]],
    rules: TileRules,
    workers: int,
) -> None:
    """Cut a split, unless its folder has these tiles already."""
    settings = {
        "program": "prepare-dota",
        "version": VERSION,
        "rules": vars(rules),
        # Not their content, which would have to be read every time.
        "sources": [
            [path.name, path.stat().st_size] for pair in split.files.values() for path in pair
        ],
    }

    ids = {name: k for k, name in enumerate(DOTA_CLASSES, start=1)}

    def write(part: Path) -> None:
        sources = sources_of_split(split, objects, rules)
        write_crops(part, folder.name, sources, rules, ids, DOTA_CLASSES, workers)

    ensure_generated(folder, settings, write)
