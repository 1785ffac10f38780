"""Check and count WiderFace, and convert it."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.datasets import WiderFaceDataset
from lowres_d2.data.datasets.widerface import read_wider_subsets
from lowres_d2.own_files import check_own
from lowres_d2.programs.command_lines.prepare_widerface import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.split_counts import counted, write_coco

_FORMS = ("wider_face_{}.mat", "wider_face_{}_bbx_gt.txt")


def main(arguments: Sequence[str] | None = None) -> None:
    """Check and count the data set, and write what the arguments ask for."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    args = parse(arguments)
    run_reporting_mistakes(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    written = {split: args.root / f"widerface_{split}.json" for split in ("train", "val")}
    if args.coco:
        check_own(written.values())
    parts = {
        split: WiderFaceDataset(
            _annotations(args.root / "wider_face_split", split),
            args.root / f"WIDER_{split}/images",
            # A few of its boxes have no area.
            invalid_boxes="skip",
        )
        for split in written
    }
    print(counted(parts))
    subsets = read_wider_subsets(args.root / "eval_tools/ground_truth")
    faces = {
        subset: sum(int(face.chosen.sum()) for face in images.values())
        for subset, images in subsets.items()
    }
    print(f"\nfaces of val: {', '.join(f'{n} {subset}' for subset, n in faces.items())}")
    if args.coco:
        for split, part in parts.items():
            write_coco(part, written[split])
            print(written[split])


def _annotations(folder: Path, split: str) -> Path:
    """The file of a split: MATLAB's, or text."""
    files = [folder / form.format(split) for form in _FORMS]
    return next((file for file in files if file.is_file()), files[0])
