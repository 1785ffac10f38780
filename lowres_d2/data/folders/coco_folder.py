"""COCO json files in a folder: ``annotations/*.json``, or one in each split's folder (Roboflow)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lowres_d2.data.datasets.base import BoxDataset
from lowres_d2.data.datasets.categories import checked_categories, select_classes
from lowres_d2.data.datasets.coco import CocoDataset
from lowres_d2.data.datasets.coco_json import read_coco_json
from lowres_d2.data.folders.layout import (
    ALL,
    FolderData,
    ReadRules,
    one_each,
    relative,
    split_folders,
    split_of,
)

PLACES = "annotations/*.json, *.json, train/_annotations.coco.json"
# Files of COCO itself that have no boxes, or people's alone: its boxes are in instances_*.json.
_NO_BOXES = ("captions_", "image_info_", "panoptic_", "person_keypoints_", "stuff_")
_HEAD = 1 << 16  # bytes, in which a section of a COCO file begins
_SECTIONS = (b'"images"', b'"annotations"')


@dataclass(frozen=True)
class CocoFolder(FolderData):
    """A folder of COCO json files; its splits are these files."""

    form = "COCO"

    def dataset(self, split: str, rules: ReadRules) -> BoxDataset:
        return CocoDataset(
            self.splits[split],
            classes=rules.classes,
            invalid_boxes=rules.invalid_boxes,
            may_lack_classes=rules.may_lack_classes,
        )

    def class_names(self, split: str, classes: list[str] | None) -> list[str]:
        file = self.splits[split]
        categories = checked_categories(file, read_coco_json(file), classes)
        return list(select_classes(file, categories, classes).values())


def find_coco(path: Path) -> CocoFolder | None:
    """The COCO files of a folder; None: it has none.

    Raises:
        ValueError: two files are of one split, or several of none.
    """
    files = [*_in_folders(path)]
    if not files:
        return None
    found = [(split, file) for split, file in files if split]
    unused = [file for split, file in files if not split]
    if not found and len(unused) > 1:
        names = ", ".join(relative(file, path) for file in unused)
        raise ValueError(
            f"{path}: has several COCO files, whose names do not tell which of them is to train "
            f"on: {names}; give data.train_json=FILE data.val_json=FILE"
        )
    if not found:
        found, unused = [(ALL, unused[0])], []
    splits = one_each(path, found, "COCO", "give data.train_json=FILE data.val_json=FILE")
    marks = ", ".join(relative(file, path) for file in splits.values())
    return CocoFolder(path, marks, splits, unused=[relative(file, path) for file in unused])


def _in_folders(path: Path) -> Iterator[tuple[str | None, Path]]:
    """COCO files with their splits, which the name of the file or of its folder tells."""
    for place in (path, path / "annotations"):
        for file in _coco_files(place):
            yield split_of(file.stem), file
    for split, place in split_folders(path):
        for file in (*_coco_files(place), *_coco_files(place / "annotations")):
            yield split, file


def _coco_files(folder: Path) -> list[Path]:
    files = [file for file in sorted(folder.glob("*.json")) if _is_coco(file)]
    if any(file.name.startswith("instances_") for file in files):
        return [file for file in files if not file.name.startswith(_NO_BOXES)]
    return files


def _is_coco(file: Path) -> bool:
    """Whether a json file begins as COCO's do: with an object that has one of their sections.

    Categories alone do not tell: notes of Label Studio's YOLO have them, too. Those of a data set
    may fill the beginning.
    """
    if not file.is_file():
        return False
    with file.open("rb") as content:
        head = content.read(_HEAD)
    long_categories = len(head) == _HEAD and b'"categories"' in head
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and (
        long_categories or any(section in head for section in _SECTIONS)
    )
