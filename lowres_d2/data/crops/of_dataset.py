"""The images of any detection data set, to be cut."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from lowres_d2.data.crops.files import Source
from lowres_d2.data.crops.objects import Outline


def sources_of(dataset: Any) -> list[Source]:
    """Images of a data set with their objects, whose labels are the category ids of its file.

    Args:
        dataset: a :class:`~lowres_d2.data.datasets.base.BoxDataset`.

    Raises:
        ValueError: its images are not files, or are parts of files.
    """
    first = dataset[0]
    if "file_name" not in first or "annotations" not in first:
        raise ValueError(f"{dataset.source}: has no image files with boxes that could be cut")
    if "corner" in first:
        raise ValueError(f"{dataset.source}: its images are parts of files, cut already")
    content = dataset.coco_dict()
    outlines = defaultdict(list)
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    for annotation in content["annotations"]:
        height, width = sizes[annotation["image_id"]]
        x, y, w, h = annotation["bbox"]
        # What lies outside of the image is on no crop, and must not make one lack it.
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
        corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
        outlines[annotation["image_id"]].append(
            Outline(annotation["category_id"], corners, bool(annotation.get("iscrowd", 0)))
        )
    paths = [Path(image["file_name"]) for image in content["images"]]
    names = _names(paths)
    return [
        Source(name, path, outlines[image["id"]], sizes[image["id"]])
        for name, path, image in zip(names, paths, content["images"], strict=True)
    ]


def _names(paths: list[Path]) -> list[str]:
    """A name for each file, which its folders below the common one make unique."""
    root = Path(os.path.commonpath([str(path.parent) for path in paths]))
    names = ["_".join(path.relative_to(root).with_suffix("").parts) for path in paths]
    if len({*names}) < len(names):  # 1.jpg beside 1.png, or a_b/c beside a/b_c
        names = [f"{name}_{number}" for number, name in enumerate(names)]
    return names
