"""A split of VisDrone-DET as a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.datasets.base import BoxDataset, log_left_out, make_annotation
from lowres_d2.data.datasets.boxes import BoxPolicy
from lowres_d2.data.datasets.categories import select_classes
from lowres_d2.data.datasets.image_folder import check_images_exist
from lowres_d2.data.datasets.visdrone.label_files import (
    VISDRONE_CLASSES,
    VisDroneObject,
    read_visdrone_labels,
)
from lowres_d2.data.datasets.voc import shown_size
from lowres_d2.data.datasets.voc_files import image_names

_OTHERS = ("ignore", "leave_out")


class VisDroneDataset(BoxDataset):
    """Detectron2 dataset dicts of a split of VisDrone-DET, checked.

    Regions without labels are ignore regions of every class, and have ``region`` True in the dicts;
    objects with score 0 are ignore regions of their class.

    Args:
        folder: of the split, with ``images`` and ``annotations`` in it.
        classes: the classes to use, in this order; objects of others are left out and counted.
            None: the ten that are scored.
        others: what vehicles of no class are: "ignore": ignore regions of every class, as the
            benchmark's documentation says; "leave_out": nothing, as in its toolkit.
        invalid_boxes: "error" or "skip", as in ``CocoDataset``.
    """

    def __init__(
        self,
        folder: str | Path,
        classes: Sequence[str] | None = None,
        others: str = "ignore",
        invalid_boxes: str = "error",
    ) -> None:
        if others not in _OTHERS:
            raise ValueError(f"others={others!r}: expected 'ignore' or 'leave_out'")
        folder = Path(folder)
        labels, images = folder / "annotations", folder / "images"
        files = {path.stem: path for path in sorted(labels.glob("*.txt"))}
        if not files:
            raise FileNotFoundError(
                f"{labels}: has no label files; expected VisDrone's {folder.name}/annotations with "
                f"a text file for each image in {folder.name}/images"
            )
        names = image_names(images, dict.fromkeys(files, ""))
        check_images_exist(labels, images, list(names.values()), "complete the folder")
        known = dict(enumerate(VISDRONE_CLASSES, start=1))
        chosen = select_classes(labels, known, None if classes is None else list(classes))
        label_of = {name: k for k, name in enumerate(chosen.values())}
        policy = BoxPolicy(labels, invalid_boxes)
        left_out: Counter[str] = Counter()
        records: list[dict] = []
        number = 0
        for image_id, (stem, path) in enumerate(files.items(), start=1):
            height, width = shown_size(images / names[stem])
            record = {
                "file_name": str(images / names[stem]),
                "height": height,
                "width": width,
                "image_id": image_id,
                "annotations": [],
            }
            for line, labelled in enumerate(read_visdrone_labels(path), start=1):
                kind = _kind(labelled, label_of, others)
                if kind is None:
                    left_out[labelled.name] += 1
                    continue
                bbox = policy.admit(labelled.bbox, record, f"object {line} ({labelled.name})")
                if bbox is None:
                    continue
                number += 1
                annotation = make_annotation(
                    number,
                    label_of.get(labelled.name, 0),
                    bbox,
                    iscrowd=int(bool(kind) or not labelled.counts),
                )
                if bbox is not labelled.bbox:
                    annotation["unclipped_bbox"] = labelled.bbox
                record["annotations"].append(annotation | kind)
            records.append(record)
        policy.close()
        log_left_out(labels, left_out)
        super().__init__(
            records,
            list(chosen.values()),
            category_ids=list(chosen),
            source=labels,
            image_root=images,
        )


def _kind(labelled: VisDroneObject, label_of: dict[str, int], others: str) -> dict | None:
    """What the dict of an ignore region of every class has, empty of an object; None: not used."""
    if labelled.name == "ignored regions":
        return {"of_every_class": True, "region": True}
    if labelled.name == "others":
        return {"of_every_class": True} if others == "ignore" else None
    return {} if labelled.name in label_of else None
