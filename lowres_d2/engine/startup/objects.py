"""Count a data set's objects by size, and augment their boxes; no image is decoded.

Sizes are sqrt(area) in pixels of the original image, boxes XYXY in pixels of the augmented one.
Large data sets are sampled evenly, with the same images every time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_d2.analysis.matching.match_report import TINY, GroundTruth, MatchReport
from lowres_d2.data.aug_input import keep_a_pixel
from lowres_d2.data.stream import seeded
from lowres_d2.evaluation.size_ranges import SizeRanges

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.structures import BoxMode

# Count objects on at most this many images, and try matching on at most this many of these.
COUNTED = 10_000
MATCHED = 100
LOPSIDED = 0.9  # share of the objects in one size range above which the report says so
# These leave the image's size unchanged, so they need not be applied to a blank image.
_SIZE_PRESERVING = (
    T.BlendTransform,
    T.ColorTransform,
    T.HFlipTransform,
    T.NoOpTransform,
    T.VFlipTransform,
)


@dataclass
class ObjectCounts:
    """Objects of a data set, or of a sample of it.

    Attributes:
        images: number of images in the data set.
        counted: number of images whose objects were counted.
        objects: number of objects on the counted images, without crowds.
        densest: largest number of objects on one image.
        by_size_range: number of objects in each size range.
        quartiles: of the objects' sizes, in pixels; empty without objects.
        sample: some of the records that have objects and state the image's size.
    """

    images: int
    counted: int
    objects: int
    densest: int
    by_size_range: list[int]
    quartiles: list[float]
    sample: list[dict]


def count_objects(
    dataset: Sequence[dict], size_ranges: SizeRanges, by_box: bool = True
) -> ObjectCounts | None:
    """Count a data set's objects.

    Args:
        dataset: Detectron2's dataset dicts.
        size_ranges: size ranges to count by.
        by_box: measure an object by its box; otherwise by the ``area`` of its annotation.

    Returns:
        The counts; None if the data has no boxes.
    """
    if not len(dataset) or "annotations" not in dataset[0]:
        return None
    number = min(len(dataset), COUNTED)
    sizes: list[float] = []
    densest, with_objects = 0, []
    for k in range(number):
        record = dataset[k * len(dataset) // number]
        found = sizes_of(objects_of(record), by_box)
        densest = max(densest, len(found))
        sizes += found
        if found and "height" in record:
            with_objects.append(record)
    values = np.array(sizes)
    # With both ends, as in COCO: an object of exactly 32 px is in two of its ranges.
    by_size_range = [
        int(((values >= low) & (values <= high)).sum()) for low, high in size_ranges.limits
    ]
    # In random order: matching may stop early, and has then seen images from the whole data set.
    sample = random.Random(0).sample(with_objects, min(MATCHED, len(with_objects)))
    quartiles = np.quantile(values, (0.25, 0.5, 0.75)).tolist() if sizes else []
    return ObjectCounts(len(dataset), number, len(sizes), densest, by_size_range, quartiles, sample)


def finer_ranges_note(counts: ObjectCounts, size_ranges: SizeRanges) -> str:
    """That nearly all objects are in one size range, and ranges that would tell them apart.

    Empty where they are spread, or where there is only one size range.
    """
    most = max(counts.by_size_range)
    if len(size_ranges.names) == 1 or most <= LOPSIDED * counts.objects:
        return ""
    name = size_ranges.names[counts.by_size_range.index(most)]
    edges = sorted({round(size) for size in counts.quartiles} - {0})
    if not edges:  # all are smaller than a pixel
        return ""
    return (
        f"{100 * most / counts.objects:.0f} % of the objects are in one size range, "
        f"{size_ranges.label(name)}; ranges that tell them apart: "
        f"dataloader.evaluator.size_ranges=[0,{','.join(map(str, edges))},null]"
    )


def tiny_objects_warning(match: MatchReport, size_ranges: SizeRanges) -> list[str]:
    """That the detector sees too few pixels of the objects of some size ranges; or nothing."""
    if not match.tiny():
        return []
    seen = ", ".join(
        f"{size_ranges.label(found.name)} at {found.seen_size:.1f} px" for found in match.tiny()
    )
    return [
        f"the detector sees objects of {seen} (median): under {TINY:g} px they can hardly be "
        "recognized, matched or not; give it more pixels: larger images (the mappers' "
        "augmentations), a smaller model.resampler.factor, or crops of the images"
    ]


def data_rows(datasets: Mapping[str, Sequence[dict]]) -> Iterator[tuple[str, str]]:
    """Rows of the report: annotation file and image folder of each data set that has them."""
    label = "data"
    for split, dataset in datasets.items():
        source = getattr(dataset, "source", None)
        if source is None:
            continue
        root = getattr(dataset, "image_root", None)
        yield label, f"{split}: {source}" + (f", images in {root}" if root else "")
        label = ""


def shared_images_warning(train: Sequence[dict], test: Sequence[dict]) -> str:
    """How many image files of the test set are trained on as well; empty if none is."""
    roots = [getattr(dataset, "image_root", None) for dataset in (train, test)]
    # Files of separate folders differ, and reading the names of large data sets takes seconds.
    if None in roots or Path(roots[0]).resolve() != Path(roots[1]).resolve():
        return ""
    trained = {record["file_name"] for record in train}
    shared = sum(record["file_name"] in trained for record in test)
    if not shared:
        return ""
    return (
        f"{shared} of {len(test)} images of the test set are trained on as well: its metrics say "
        "how well they were learned, not how well the detector works"
    )


def objects_of(record: dict) -> list[dict]:
    """An image's annotations without crowds."""
    return [a for a in record["annotations"] if not a.get("iscrowd", 0)]


def sizes_of(annotations: Sequence[dict], by_box: bool) -> list[float]:
    """sqrt(area) of each object: of its box, or of its annotated area."""
    if not by_box:
        return [float(a["area"]) ** 0.5 for a in annotations]
    boxes = (
        a["bbox"]
        if a["bbox_mode"] == BoxMode.XYWH_ABS  # converting it to itself would take most of the time
        else BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYWH_ABS)
        for a in annotations
    )
    return [float(width * height) ** 0.5 for _, _, width, height in boxes]


def as_the_model_gets_them(
    records: Sequence[dict], augmentations: Sequence[Any], by_box: bool = True
) -> Iterator[GroundTruth]:
    """Ground truth after a mapper's augmentations, whose random choices are the same every time.

    Args:
        records: Detectron2's dataset dicts.
        augmentations: Detectron2 augmentations, in order.
        by_box: see :func:`count_objects`.
    """
    augment = T.AugmentationList(list(augmentations))
    for position, record in enumerate(records):
        objects = objects_of(record)
        boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in objects]
        image = _Blank((record["height"], record["width"]), np.array(boxes, dtype=float))
        with seeded(0, position):
            augment(image)
        height, width = image.image.shape[:2]
        moved = image.boxes.clip(0, [width, height, width, height])
        # The mapper drops boxes of which nothing is left, too.
        inside = (moved[:, 2:] > moved[:, :2]).all(axis=1)
        yield GroundTruth(
            (height, width),
            torch.as_tensor(moved[inside], dtype=torch.float32),
            torch.tensor(sizes_of(objects, by_box))[inside],
        )


class _Blank(T.AugInput):
    """An image without content: most transforms change its size only, which costs nothing."""

    def __init__(self, size: tuple[int, int], boxes: np.ndarray) -> None:
        super().__init__(_blank(size), boxes=boxes.reshape(-1, 4))

    def transform(self, tfm: Any) -> None:
        """Transform the boxes, and update the image's size."""
        keep_a_pixel(tfm)
        self.boxes = tfm.apply_box(self.boxes)
        if isinstance(tfm, T.ResizeTransform):
            self.image = _blank((tfm.new_h, tfm.new_w))
        elif not isinstance(tfm, _SIZE_PRESERVING):
            self.image = tfm.apply_image(self.image)


def _blank(size: tuple[int, int]) -> np.ndarray:
    # One pixel with strides of 0: an image of any size without its memory.
    return np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (*size, 3))
