"""Convert annotations of other programs to COCO json, and validate them.

Reads LabelMe, CVAT, Label Studio, Open Images, Hugging Face's image folders and many others through
panlabel (the extra lowres-d2[data]), which refuses what COCO's format cannot hold in full. COCO's,
YOLO's and VOC's own forms need no conversion: data.path=FOLDER.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence

from lowres_d2.cores import num_cores
from lowres_d2.data.folders.panlabel import to_coco
from lowres_d2.data.validation import Findings, read_split, validate
from lowres_d2.data.validation.text import report_text
from lowres_d2.evaluation.size_ranges import SizeRanges
from lowres_d2.own_files import check_own, own_path
from lowres_d2.programs.command_lines.convert_data import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert; exits with 1 where the validation finds an error."""
    args = parse(arguments)
    run_reporting_mistakes(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    if not args.source.exists():
        raise FileNotFoundError(f"{args.source}: no such file or folder of annotations")
    if args.output.suffix != ".json":
        raise ValueError(f"{args.output}: expected the name of a .json file to write")
    check_own([args.output])
    with own_path(args.output) as part:
        lost = to_coco(args.source, part, args.form, args.allow_lossy)
    for loss in lost:
        print(f"lost: {loss}")
    images = args.images or (args.source if args.source.is_dir() else args.source.parent)
    findings = Findings()
    split = read_split(args.output, findings, images=images)
    sizes = SizeRanges.from_config("coco")
    ranges = {sizes.label(k): v for k, v in zip(sizes.names, sizes.limits, strict=True)}
    splits = [split] if split else []
    report = validate(splits, findings, ranges, level="header", workers=num_cores())
    print(report_text(report, 3))
    if not report.ok:
        print(f"{args.output}: written, with the errors above")
        raise SystemExit(1)
    keys = f"data.train_json={args.output}", f"data.train_images={images}"
    print(f"{args.output}: written; for a recipe of configs/own_data:")
    print(f"  {' '.join(map(shlex.quote, keys))}")
