"""What the programs that prepare a data set print and write of its splits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from lowres_d2.data.datasets import BoxDataset
from lowres_d2.data.validation.read import split_of_dataset
from lowres_d2.data.validation.sizes import summarize
from lowres_d2.data.validation.text import size_statistics
from lowres_d2.own_files import own_path

from tabulate import tabulate


def counted(parts: Mapping[str, BoxDataset]) -> str:
    """A table of splits: images, objects, ignore regions, and the objects' sizes.

    Args:
        parts: data sets by the names of their splits.
    """
    rows = []
    for name, part in parts.items():
        sizes = size_statistics(summarize(split_of_dataset(part, name), {}))
        counts = {"images": len(part), "objects": part.num_objects, "ignored": part.num_crowds}
        rows.append({"split": name} | counts | sizes)
    return tabulate(rows, headers="keys", tablefmt="github", missingval="-")


def classes_counted(parts: Mapping[str, BoxDataset]) -> str:
    """A table of the objects of each class.

    Args:
        parts: data sets with the same classes, by the names of their splits.
    """
    counts: dict[str, dict[str, int]] = {}
    for name, part in parts.items():
        for record in part:
            for annotation in record["annotations"]:
                if not annotation["iscrowd"]:
                    row = counts.setdefault(part.classes[annotation["category_id"]], {})
                    row[name] = row.get(name, 0) + 1
    classes = next(iter(parts.values())).classes
    rows = [[name, *(counts.get(name, {}).get(part, 0) for part in parts)] for name in classes]
    return tabulate(rows, ["class", *parts], tablefmt="github")


def write_coco(part: BoxDataset, file: Path) -> None:
    """Write a data set in COCO's form, with names relative to the file: its images are found."""
    content = part.coco_dict()
    for image in content["images"]:
        image["file_name"] = Path(image["file_name"]).relative_to(file.parent).as_posix()
    with own_path(file) as beside:
        beside.write_text(json.dumps(content), encoding="utf-8")
