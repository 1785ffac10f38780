"""A split of a data set as in its file: plain records in COCO format, nothing checked yet.

Boxes are XYWH in pixels of the stored image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lowres_d2.data.datasets.boxes import box_fault
from lowres_d2.data.datasets.json_values import is_whole
from lowres_d2.data.image import ImageReader
from lowres_d2.data.validation.findings import Suspect


@dataclass
class Split:
    """Images, annotations and categories of one file, with all of their faults.

    Attributes:
        name: name of the split in the report.
        source: file or folder of the annotations.
        images: entries with ``id``, ``file_name``, ``height``, ``width``, if they are valid.
        annotations: entries with ``id``, ``image_id``, ``category_id``, ``bbox``, ``area``,
            ``iscrowd``, if they are valid.
        categories: entries with ``id`` and ``name``, if they are valid.
        root: folder that the images' names are relative to; None: there are no images to check.
        classes: names of the classes that are used, in order; None: all.
        skips_boxes: whether invalid boxes are skipped on purpose.
        skips_images: whether unreadable images are skipped on purpose.
        reader: how training reads the images.
        trusts_area: whether objects are sized by ``area`` and not by their boxes.
    """

    name: str
    source: Path
    images: list[dict]
    annotations: list[dict]
    categories: list[dict]
    root: Path | None = None
    classes: list[str] | None = None
    skips_boxes: bool = False
    skips_images: bool = False
    trusts_area: bool = False
    reader: ImageReader = field(default_factory=ImageReader)

    @cached_property
    def image_of(self) -> dict[int, dict]:
        """Valid images by id; the first one if several share an id."""
        sound: dict[int, dict] = {}
        for image in self.images:
            sizes = (image.get("height"), image.get("width"))
            named = isinstance(image.get("file_name"), str) and image["file_name"]
            if named and is_whole(image.get("id")) and all(is_whole(n) and n > 0 for n in sizes):
                sound.setdefault(image["id"], image)
        return sound

    @cached_property
    def name_of(self) -> dict[int, str]:
        """Names of valid categories by id, in the order of the ids; the first one of each id."""
        sound: dict[int, str] = {}
        for category in self.categories:
            if is_whole(category.get("id")) and isinstance(category.get("name"), str):
                sound.setdefault(category["id"], category["name"])
        return dict(sorted(sound.items()))

    @cached_property
    def class_list(self) -> list[str]:
        """Names of the classes that are used: position k is what a model calls class k."""
        return list(self.name_of.values() if self.classes is None else self.classes)

    @cached_property
    def placed(self) -> list[dict]:
        """Annotations of a known image and of a class that is used, with valid boxes or not."""
        used = set(self.class_list)
        return [
            entry
            for entry in self.annotations
            if _known(entry.get("image_id"), self.image_of)
            and _known(entry.get("category_id"), self.name_of)
            and self.name_of[entry["category_id"]] in used
        ]

    @cached_property
    def boxed(self) -> list[dict]:
        """Those of :attr:`placed` with a valid box, including crowds."""
        return [entry for entry in self.placed if self.fault(entry) is None]

    @cached_property
    def image_ids_with_boxes(self) -> set[int]:
        """Images with a valid box, which may be a crowd's."""
        return {entry["image_id"] for entry in self.boxed}

    @cached_property
    def objects(self) -> list[dict]:
        """Those of :attr:`boxed` that are not crowds: the objects to be found."""
        return [entry for entry in self.boxed if not entry.get("iscrowd", 0)]

    def fault(self, entry: dict) -> str | None:
        """Why the box of an annotation with a known image is invalid, or None."""
        image = self.image_of[entry["image_id"]]
        return box_fault(entry.get("bbox"), image["height"], image["width"])

    def path(self, image: dict) -> Path | None:
        """File of an image; None if the split has no images to check."""
        return None if self.root is None else self.root / image["file_name"]

    def suspect(self, entry: dict, detail: str = "") -> Suspect:
        """An annotation as a place where something was found."""
        image_id = entry.get("image_id")
        image = self.image_of[image_id] if _known(image_id, self.image_of) else None
        place = self.suspect_image(image) if image else Suspect(image_id=image_id)
        return Suspect(
            detail, image_id, entry.get("id"), place.image, place.path, entry.get("bbox")
        )

    def suspect_image(self, image: dict, detail: str = "") -> Suspect:
        """An image as a place where something was found."""
        name = image.get("file_name")
        path = self.path(image) if isinstance(name, str) else None
        return Suspect(detail, image.get("id"), None, name, str(path) if path else None)


def _known(value: object, index: dict) -> bool:
    return is_whole(value) and value in index
