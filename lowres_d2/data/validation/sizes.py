"""Object sizes, objects per image, and whether the caps on detections allow for them.

Size is sqrt(width x height) of a box, in pixels of the stored image; Ning et al. (VISAPP 2023) call
it absolute size in Table 1. Relative size is its ratio to that of the image (Yu et al., WACV 2020).
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowres_d2.data.validation.findings import Check, Findings
from lowres_d2.data.validation.split import Split

NOTHING = Check(
    "no-objects",
    "error",
    "splits without an object",
    "check the file; of a test set without labels, `train --eval-only` writes the detections",
)
EMPTY = Check(
    "image-empty",
    "info",
    "images without an object",
    "correct for background images; otherwise annotations are missing",
)
NO_DETS = Check(
    "max-dets-none",
    "error",
    "evaluators that count no detections",
    "remove dataloader.evaluator.max_dets: it is then chosen from the data",
)
MAX_DETS = Check(
    "max-dets",
    "warning",
    "evaluators that count fewer detections than the densest image has objects",
    "right if the benchmark has this cap; otherwise remove dataloader.evaluator.max_dets: it is "
    "then chosen from the data",
)
CAPPED = Check(
    "model-cap",
    "warning",
    "settings of the model that allow fewer detections than the densest image has objects",
    "raise them: objects beyond the cap can never be found",
)
DENSE = Check(
    "denser-than-100",
    "info",
    "images with more objects than the 100 detections that COCO's evaluation counts",
    "fine here: max_dets follows the data; metrics of programs with a cap of 100 do not compare",
)

# Papers say which share of a data set's objects is up to 20 px (Yu et al., WACV 2020) or 32 (COCO).
SIZE_LIMITS = (20.0, 32.0)
_SHOWN_IMAGES = 3
# The largest of COCO's maxDets (1, 10, 100).
_COCO_MAX_DETS = 100


@dataclass(frozen=True)
class Summary:
    """Counts of one split.

    Attributes:
        images: number of listed images.
        empty: number of images without an object.
        objects: number of objects, without crowds.
        crowds: number of crowds.
        size_ranges: number of objects by size range; size ranges may overlap.
        quantiles: sizes of the smallest, median and largest object.
        spread: mean and standard deviation of the sizes.
        relative: the same of the relative sizes.
        shares: share of the objects of at most so many pixels, 0 to 1, by this limit.
        densest: images with most objects: name and number of objects.
    """

    images: int
    empty: int
    objects: int
    crowds: int
    size_ranges: dict[str, int]
    quantiles: tuple[float, float, float] | None
    spread: tuple[float, float] | None
    relative: tuple[float, float] | None
    shares: dict[float, float]
    densest: list[tuple[str, int]]


def summarize(
    split: Split,
    size_ranges: Mapping[str, tuple[float, float]],
    limits: Sequence[float] = SIZE_LIMITS,
) -> Summary:
    """Count the images and objects of a split.

    Args:
        split: the split.
        size_ranges: from and to in pixels by name, both ends included.
        limits: sizes for :attr:`Summary.shares`.
    """
    of_image = {k: math.sqrt(i["width"] * i["height"]) for k, i in split.image_of.items()}
    sized = [(math.sqrt(e["bbox"][2] * e["bbox"][3]), e["image_id"]) for e in split.objects]
    relative = [size / of_image[image_id] for size, image_id in sized]
    sizes = sorted(size for size, _ in sized)
    per_image = Counter(entry["image_id"] for entry in split.objects)
    densest = [
        (split.image_of[image_id]["file_name"], number)
        for image_id, number in per_image.most_common(_SHOWN_IMAGES)
    ]
    return Summary(
        images=len(split.images),
        empty=len(split.image_of) - len(per_image),
        objects=len(sizes),
        crowds=len(split.boxed) - len(split.objects),
        size_ranges={
            name: sum(low <= size <= high for size in sizes)
            for name, (low, high) in size_ranges.items()
        },
        quantiles=(sizes[0], sizes[len(sizes) // 2], sizes[-1]) if sizes else None,
        spread=_spread(sizes),
        relative=_spread(relative),
        shares={limit: sum(size <= limit for size in sizes) / len(sizes) for limit in limits}
        if sizes
        else {},
        densest=densest,
    )


def _spread(values: Sequence[float]) -> tuple[float, float] | None:
    return (statistics.fmean(values), statistics.pstdev(values)) if values else None


def check_sizes(
    split: Split,
    summary: Summary,
    findings: Findings,
    max_dets: int | None = None,
    caps: Mapping[str, int] | None = None,
) -> None:
    """Find images without objects, very dense images, and caps that are too low.

    Args:
        split: the split.
        summary: result of :func:`summarize`.
        findings: collects what is wrong.
        max_dets: detections per image that the evaluator counts; None: enough.
        caps: largest number of detections per image of the model, by the name of the setting.
    """
    if not summary.objects:
        findings.add(NOTHING, split.name, str(split.source))
        return
    numbers = Counter(entry["image_id"] for entry in split.objects)
    for image_id, image in split.image_of.items():
        if not numbers[image_id]:
            findings.add(EMPTY, split.name, split.suspect_image(image))
        elif numbers[image_id] > _COCO_MAX_DETS:
            suspect = split.suspect_image(image, f"{numbers[image_id]} objects")
            findings.add(DENSE, split.name, suspect)
    name, number = summary.densest[0]
    if max_dets is not None and max_dets < 1:
        findings.add(NO_DETS, split.name, f"max_dets is {max_dets}")
    elif max_dets is not None and max_dets < number:
        findings.add(MAX_DETS, split.name, f"max_dets is {max_dets}, {name} has {number} objects")
    for key, cap in (caps or {}).items():
        if cap < number:
            findings.add(CAPPED, split.name, f"{key} is {cap}, {name} has {number} objects")
