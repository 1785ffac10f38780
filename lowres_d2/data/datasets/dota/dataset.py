"""A split of DOTA, or of tiles in DOTA's form, as a data set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from lowres_d2.data.datasets.base import BoxDataset, log_left_out, make_annotation
from lowres_d2.data.datasets.boxes import BoxPolicy
from lowres_d2.data.datasets.categories import select_classes
from lowres_d2.data.datasets.dota.label_files import (
    DOTA_CLASSES,
    check_dota_classes,
    read_dota_labels,
)
from lowres_d2.data.datasets.dota.splits import find_dota_split
from lowres_d2.data.image.files import open_image, open_regular


class DotaDataset(BoxDataset):
    """Detectron2 dataset dicts of the horizontal boxes around DOTA's objects, checked.

    The images are read as they are, whole: they may have 20,000 pixels a side. ``lowres-d2
    prepare-dota`` cuts them into tiles, which ``CocoDataset`` reads. Difficult objects become
    crowds: not used in training, ignored in evaluation.

    Args:
        folder: of the split, with ``images`` and the label files in it.
        labels: name of the folder of the label files.
        classes: the classes to use, in this order; objects of others are left out and counted.
            None: the eighteen of DOTA-v2.0, and an object of another class is an error.
        difficult: "ignore", or "object": difficult ones are objects like others.
        invalid_boxes: "error" or "skip", as in ``CocoDataset``.
        may_lack_classes: as in ``CocoDataset``.
    """

    def __init__(
        self,
        folder: str | Path,
        labels: str = "labelTxt",
        classes: list[str] | None = None,
        difficult: str = "ignore",
        invalid_boxes: str = "error",
        may_lack_classes: bool = False,
    ) -> None:
        check_difficult(difficult)
        split = find_dota_split(folder, labels)
        objects = {name: read_dota_labels(path) for name, (_, path) in split.files.items()}
        found = {labelled.name for rows in objects.values() for labelled in rows}
        if classes is None:
            check_dota_classes(split.labels, found, DOTA_CLASSES)
        known = dict(enumerate([*DOTA_CLASSES, *sorted(found - {*DOTA_CLASSES})]))
        names = list(
            select_classes(split.labels, known, classes or DOTA_CLASSES, may_lack_classes).values()
        )
        policy = BoxPolicy(split.labels, invalid_boxes)
        left_out: Counter[str] = Counter()
        records, number = [], 0
        for image_id, (name, (path, _)) in enumerate(split.files.items(), start=1):
            width, height = image_size(path)
            record = {
                "file_name": str(path),
                "height": height,
                "width": width,
                "image_id": image_id,
                "annotations": [],
            }
            for line, labelled in enumerate(objects[name], start=1):
                if labelled.name not in names:
                    left_out[labelled.name] += 1
                    continue
                given = labelled.bbox
                bbox = policy.admit(given, record, f"object {line} ({labelled.name})")
                if bbox is None:
                    continue
                number += 1
                crowd = int(labelled.difficult > 0 and difficult == "ignore")
                label = names.index(labelled.name)
                annotation = make_annotation(number, label, bbox, iscrowd=crowd)
                if bbox is not given:
                    annotation["unclipped_bbox"] = given
                record["annotations"].append(annotation)
            records.append(record)
        policy.close()
        log_left_out(split.labels, left_out)
        super().__init__(records, names, source=split.labels, image_root=split.images)


def check_difficult(difficult: str) -> None:
    """Raise an error unless it says what difficult objects are."""
    if difficult not in ("ignore", "object"):
        raise ValueError(f"difficult={difficult!r}: expected 'ignore' or 'object'")


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image file, however large.

    Raises:
        ValueError: it is no image.
    """
    try:
        with open_regular(str(path)) as file, open_image(file, max_pixels=None) as image:
            return image.size
    except Exception as error:  # Pillow raises anything for a broken file
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: is not an image that can be read ({reason})") from None
