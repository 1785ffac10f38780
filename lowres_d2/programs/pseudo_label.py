"""Label images with a trained detector's detections, to train on them.

Writes ``train.json`` and ``val.json``, COCO json files that recipes for your own data take. The
last images, in the order of their names, are those of ``val.json``: successive images of a camera
are alike, and images between the others would be known from training.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_d2.data.datasets.pseudo_labels import PseudoLabels
from lowres_d2.data.datasets.unlabelled import UnlabelledImages
from lowres_d2.engine.build import build_model
from lowres_d2.engine.checkpoint import load_weights
from lowres_d2.engine.identity import Identity, recipe_of
from lowres_d2.evaluation.found_boxes import FoundBoxes
from lowres_d2.evaluation.shown import BOXES, task_of
from lowres_d2.own_files import check_own, own_path
from lowres_d2.programs.command import docstring_of
from lowres_d2.programs.demo import class_names
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.recipes.load import build

import torch
from omegaconf import DictConfig

TRAIN, VAL = "train.json", "val.json"
_SHOWN_CLASSES = 5


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = argparse.ArgumentParser(description=docstring_of(__file__))
    parser.add_argument(
        "--config-file",
        metavar="RECIPE",
        help="recipe that the weights belong to; not needed where they are a run's",
    )
    parser.add_argument(
        "--weights",
        required=True,
        metavar="FILE",
        help="of the detector: .pth, .pkl or .safetensors, an address, or the folder of a run",
    )
    parser.add_argument(
        "--images",
        required=True,
        type=Path,
        metavar="FOLDER",
        help="folder of images, or a COCO json file, whose annotations are not used",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FOLDER", help="folder of the json files"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=PseudoLabels.threshold,
        metavar="SCORE",
        help="detections of this score or more become objects; default %(default)s",
    )
    parser.add_argument(
        "--ignore-from",
        type=float,
        default=None,
        metavar="SCORE",
        help="those of this score or more become ignore regions (iscrowd), default "
        f"{PseudoLabels.ignored_from}; equal to --threshold: none do",
    )
    parser.add_argument(
        "--held-out",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="share of the images that are for evaluation; 0: only train.json is written; default "
        "%(default)s",
    )
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    args = make_parser().parse_intermixed_args(arguments)
    run_reporting_mistakes(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    if not 0 <= args.held_out < 1:
        raise ValueError(f"--held-out {args.held_out:g}: expected a share, from 0 to under 1")
    lower = min(PseudoLabels.ignored_from, args.threshold)
    lower = lower if args.ignore_from is None else args.ignore_from
    labels = PseudoLabels(args.weights, args.threshold, lower)
    images = UnlabelledImages(args.images)
    held_out = round(args.held_out * len(images))
    if args.held_out and not 0 < held_out < len(images):
        raise ValueError(
            f"{args.images}: {len(images)} images give no two parts with --held-out "
            f"{args.held_out:g}: give more images, or --held-out 0"
        )
    names = [TRAIN, VAL] if held_out else [TRAIN]
    check_own(args.output / name for name in names)
    cfg, weights = recipe_of(args.config_file, args.weights, args.opts)
    if task_of(cfg) != BOXES.task:
        raise ValueError(f"{args.weights}: is of a model that finds no objects")
    found = find_objects(cfg, weights, images)
    files = {}
    for name in names:
        part = found.images[: len(found.images) - held_out]
        part = part if name == TRAIN else found.images[len(part) :]
        files[name] = labels.coco(part, found.detections, found.categories)
        if all(a["iscrowd"] for a in files[name]["annotations"]):
            inside = {image["id"] for image in part}
            scores = [d["score"] for d in found.detections if d["image_id"] in inside]
            raise ValueError(
                f"{args.images}: no object for {name}: of its {len(part)} images the highest score "
                f"is {max(scores, default=0):.2f}: lower --threshold {args.threshold:g}, or use "
                "another detector"
            )
    args.output.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with own_path(args.output / name) as part:
            part.write_text(json.dumps(content), encoding="utf-8")
        print(f"{args.output / name}: {describe(content)}")
    print(f"No ground truth: {labels}. Look at some of them before you train on them.")
    keys = _keys(args.output, images, names)
    print(f"To train on them, add to a recipe of configs/own_data:\n  {keys}")


@dataclass(frozen=True)
class Found:
    """What a detector has found.

    Attributes:
        images: ``id``, ``file_name``, ``height`` and ``width`` of each image that was read.
        detections: COCO results.
        categories: names of its classes by id.
    """

    images: list[dict]
    detections: list[dict]
    categories: dict[int, str]


@torch.no_grad()
def find_objects(cfg: DictConfig, weights: Identity, images: UnlabelledImages) -> Found:
    """A detector's own detections on images, through the mapper and loader of its recipe's test.

    Args:
        cfg: the recipe.
        weights: all of the model's.
        images: read one after the other.

    Raises:
        ValueError: an image is broken, or the weights do not fit the recipe.
    """
    model = build_model(cfg).eval()
    load_weights(model, weights.weights, complete=True, use_average=cfg.train.ema.enabled)
    classes = class_names(cfg, model, weights)
    ids = list(weights.category_ids) or range(1, len(classes) + 1)
    cfg.dataloader.test.dataset = images
    boxes = FoundBoxes([{"id": number} for number in images.names], list(ids))
    sizes: dict[int, tuple[int, int]] = {}
    for batch in build(cfg, "dataloader.test"):
        boxes.process(batch, model(batch))
        sizes |= {x["image_id"]: (x["height"], x["width"]) for x in batch}
        if sys.stdout.isatty():
            print(f"\r\x1b[K{len(sizes):,} of {len(images):,} images", end="", flush=True)
    if sys.stdout.isatty():
        print()
    entries = [
        {"id": k, "file_name": images.names[k], "height": height, "width": width}
        for k, (height, width) in sizes.items()
    ]
    detections = boxes.as_results(boxes.gathered())
    return Found(entries, detections, dict(zip(ids, classes, strict=True)))


def describe(content: Mapping[str, Any]) -> str:
    """Numbers of images, objects and ignore regions of a COCO json; its most frequent classes."""
    names = {category["id"]: category["name"] for category in content["categories"]}
    objects = [a for a in content["annotations"] if not a["iscrowd"]]
    counts = Counter(names[a["category_id"]] for a in objects)
    shown = ", ".join(f"{name} {number:,}" for name, number in counts.most_common(_SHOWN_CLASSES))
    empty = len(content["images"]) - len({a["image_id"] for a in objects})
    return (
        f"{len(content['images']):,} images ({empty:,} without objects), {len(objects):,} objects, "
        f"{len(content['annotations']) - len(objects):,} ignored; {shown}"
        + (f", ... ({len(counts)} classes)" if len(counts) > _SHOWN_CLASSES else "")
    )


def _keys(folder: Path, images: UnlabelledImages, names: Sequence[str]) -> str:
    """What a recipe for own data is given to read them."""
    keys = {}
    for split, name in zip(("train", "val"), names, strict=False):
        keys |= {f"{split}_json": folder / name, f"{split}_images": images.image_root}
    return " ".join(shlex.quote(f"data.{key}={value}") for key, value in keys.items())
