"""Cut the images of a detection data set into crops to train on.

The crops' images and annotations.json, in COCO's form, go to one folder. Of objects that a crop
cuts, those of which too little is left become ignore regions.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lowres_d2.data.crops import PRESETS, CropRules, sources_of, write_crops
from lowres_d2.data.datasets import CocoDataset
from lowres_d2.data.generated import ensure_generated
from lowres_d2.programs.command_lines.crop import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.recipes.load import build, load_recipe

VERSION = 2  # of the crops: older ones are made anew


def main(arguments: Sequence[str] | None = None) -> None:
    """Cut the data set."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    args = parse(arguments)
    run_reporting_mistakes(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    given = {"size": _sides(args.size), "overlap": _sides(args.overlap)}
    given["least_inside"] = args.least_inside
    rules = replace(PRESETS[args.preset], **{k: v for k, v in given.items() if v is not None})
    dataset = _dataset(args)
    sources = sources_of(dataset)
    settings = {
        "program": "crop",
        "version": VERSION,
        "rules": asdict(rules),
        "classes": dataset.classes,
        "info": dataset.info,
        # Not the images' content, which would have to be read every time.
        "sources": [
            [str(s.path), s.path.stat().st_size, [[o.label, o.bbox, o.ignored] for o in s.outlines]]
            for s in sources
        ],
    }
    ids = {number: number for number in dataset.category_ids}

    def write(part: Path) -> None:
        classes, name = dataset.classes, args.output.name
        write_crops(part, name, sources, rules, ids, classes, args.workers, dataset.info)

    ensure_generated(args.output, settings, write)
    content = json.loads((args.output / "annotations.json").read_text(encoding="utf-8"))
    owners = [x["image_id"] for x in content["annotations"] if not x["iscrowd"]]
    print(
        f"{args.output}: {len(content['images'])} crops ({text_of(rules)}) of {len(sources)} "
        f"images, {len(owners)} objects on {len({*owners})} of them, "
        f"{len(content['annotations']) - len(owners)} ignore regions"
    )


def _dataset(args: argparse.Namespace) -> Any:
    if (args.annotations is None) == (args.config_file is None):
        raise ValueError("give the data set: --annotations FILE, or --config-file RECIPE")
    if args.annotations is not None:
        if args.opts:
            raise ValueError(f"{args.opts[0]}: changes are those of a recipe; give --config-file")
        return CocoDataset(args.annotations, args.images)
    if args.images is not None:
        raise ValueError("--images goes with --annotations; a recipe says where its images are")
    return build(load_recipe(args.config_file, args.opts), f"dataloader.{args.split}.dataset")


def _sides(given: Sequence[int] | None) -> Sequence[int] | None:
    return given * 2 if given is not None and len(given) == 1 else given


def text_of(rules: CropRules) -> str:
    """Size and overlap of crops, for a reader."""
    (height, width), (rows, columns) = rules.size, rules.overlap
    return f"{width}x{height}, overlap {columns if rows == columns else f'{columns}x{rows}'}"
