"""Label images with a trained detector's detections, to train on them.

Writes ``train.json`` and ``val.json``, COCO json files that recipes for your own data take. The
last images, in the order of their names and of the numbers in these, are those of ``val.json``:
successive images of a camera are alike, and images between the others would be known from training.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_d2.data.datasets.pseudo_labels import PseudoLabels
from lowres_d2.data.datasets.unlabelled import UnlabelledImages
from lowres_d2.engine.identity import Identity
from lowres_d2.evaluation.found_boxes import FoundBoxes
from lowres_d2.natural_order import natural_order
from lowres_d2.own_files import check_own, own_path, remove_own
from lowres_d2.predictor.loading import predictor_of
from lowres_d2.programs.boxes_only import check_finds_boxes
from lowres_d2.programs.command_lines.pseudo_label import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.opened_weights import opened_weights
from lowres_d2.progress import image_progress
from lowres_d2.recipes.load import build

from omegaconf import DictConfig, OmegaConf

TRAIN, VAL = "train.json", "val.json"
_SHOWN_CLASSES = 5
_LOWEST = 0.05  # of the highest score, from which on a lower threshold may give objects


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    args = parse(arguments)
    run_reporting_mistakes(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    if not 0 <= args.held_out < 1:
        raise ValueError(f"--held-out {args.held_out:g}: expected a share, from 0 to under 1")
    lower = min(PseudoLabels.ignored_from, args.threshold)
    lower = lower if args.ignore_from is None else args.ignore_from
    labels = PseudoLabels(args.weights, args.threshold, lower)
    images = UnlabelledImages(args.images)
    names = [TRAIN, VAL] if _held_out(args, len(images)) else [TRAIN]
    check_own(args.output / name for name in names)
    cfg, weights = opened_weights(args)
    check_finds_boxes(cfg, args.weights)
    _skip_broken_images(cfg, args.opts)
    found = find_objects(cfg, weights, images)
    if len(found.images) < len(images):
        lost = len(images) - len(found.images)
        print(f"{lost:,} of {len(images):,} images cannot be read, and are left out")
    _check_any_object(args, found)
    first = len(found.images) - _held_out(args, len(found.images))
    # Those of a json file may be in any order.
    ordered = sorted(found.images, key=lambda image: natural_order(image["file_name"]))
    parts = {TRAIN: ordered[:first], VAL: ordered[first:]}
    files = {name: labels.coco(parts[name], found.detections, found.categories) for name in names}
    _write(args, files)
    print(f"No ground truth: {labels}. Look at some of them before you train on them.")
    if any(map(_is_empty, files.values())):
        return
    keys = _keys(args.output, images, names)
    print(f"To train on them, add to a recipe of configs/own_data:\n  {keys}")


def _held_out(args: argparse.Namespace, number: int) -> int:
    """How many of the images are for evaluation."""
    held_out = round(args.held_out * number)
    if args.held_out and not 0 < held_out < number:
        raise ValueError(
            f"{args.images}: {number} images give no two parts with --held-out "
            f"{args.held_out:g}: give more images, or --held-out 0"
        )
    return held_out


def _skip_broken_images(cfg: DictConfig, opts: Sequence[str]) -> None:
    """One of many is no reason to lose the detections of the others, unless ``opts`` say so."""
    key = "dataloader.test.mapper.on_broken"
    given = any(opt.lstrip("+").partition("=")[0] == key for opt in opts)
    if not given and OmegaConf.select(cfg, key) is not None:
        OmegaConf.update(cfg, key, "skip")


def _check_any_object(args: argparse.Namespace, found: Found) -> None:
    """Raise where nothing can be learned from the detections."""
    if not found.images:
        raise ValueError(f"{args.images}: none of its images can be read")
    best = max((d["score"] for d in found.detections), default=0)
    if best < args.threshold:
        lower = f"lower --threshold {args.threshold:g}, or " if best >= _LOWEST else ""
        raise ValueError(
            f"{args.images}: no object on its {len(found.images)} images, of which the highest "
            f"score is {best:.2f}: {lower}use another detector"
        )


def _write(args: argparse.Namespace, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the json files, all of them or none, and say what is in them."""
    left = args.output / VAL
    if VAL not in files and left.exists():
        # Its images are in the new train.json, and a model would be evaluated on what it learned.
        removed = remove_own(left)
        print(
            f"{left}: "
            + (
                "of an earlier run, removed: its images are for training now"
                if removed
                else f"is not of this run: some of its images may be in {TRAIN}, too"
            )
        )
    with contextlib.ExitStack() as written:
        for name, content in files.items():
            part = written.enter_context(own_path(args.output / name))
            part.write_text(json.dumps(content), encoding="utf-8")
    for name, content in files.items():
        print(f"{args.output / name}: {describe(content)}")
        if _is_empty(content):
            print(
                f"{args.output / name}: no detection on its images reaches --threshold "
                f"{args.threshold:g}: lower it, or give another --held-out than {args.held_out:g}"
            )


def _is_empty(content: Mapping[str, Any]) -> bool:
    """Whether a COCO json has no object that is not ignored."""
    return all(a["iscrowd"] for a in content["annotations"])


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


def find_objects(cfg: DictConfig, weights: Identity, images: UnlabelledImages) -> Found:
    """A detector's own detections on images, through the mapper and loader of its recipe's test.

    Args:
        cfg: the recipe.
        weights: all of the model's.
        images: read one after the other.

    Raises:
        ValueError: an image is broken, and the recipe's mapper does not skip it, or the weights
            do not fit the recipe.
    """
    detector = predictor_of(cfg, weights)
    classes = detector.class_names
    ids = list(weights.category_ids) or range(1, len(classes) + 1)
    cfg.dataloader.test.dataset = images
    boxes = FoundBoxes([{"id": number} for number in images.names], list(ids))
    sizes: dict[int, tuple[int, int]] = {}
    with image_progress(len(images)) as done:
        for batch in build(cfg, "dataloader.test"):
            boxes.process(batch, [{"instances": found} for found in detector.detect(batch)])
            sizes |= {x["image_id"]: (x["height"], x["width"]) for x in batch}
            done(len(batch))
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
        f"{len(content['annotations']) - len(objects):,} ignored"
        + (f"; {shown}" if shown else "")
        + (f", ... ({len(counts)} classes)" if len(counts) > _SHOWN_CLASSES else "")
    )


def _keys(folder: Path, images: UnlabelledImages, names: Sequence[str]) -> str:
    """What a recipe for own data is given to read them."""
    keys = {}
    for split, name in zip(("train", "val"), names, strict=False):
        keys |= {f"{split}_json": folder / name, f"{split}_images": images.image_root}
    return " ".join(shlex.quote(f"data.{key}={value}") for key, value in keys.items())
