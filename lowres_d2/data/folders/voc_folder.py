"""Recognises VOC's xml files in a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lowres_d2.data.datasets.base import BoxDataset
from lowres_d2.data.datasets.voc_files import voc_image_folder
from lowres_d2.data.folders.layout import (
    ALL,
    FolderData,
    ReadRules,
    one_each,
    relative,
    split_folders,
)
from lowres_d2.data.folders.voc import VocFolderDataset, VocSource, voc_class_names

PLACES = "VOC2007/ImageSets/Main, Annotations/*.xml, *.xml beside images, train/*.xml"
_YEAR = re.compile(r"VOC\d{4}")
_TRIED_FILES = 5
_HEAD = 1 << 12  # bytes, in which an xml file's first element begins


@dataclass(frozen=True)
class VocFolder(FolderData):
    """A folder of VOC's xml files; its splits are ``VocSource``."""

    form = "VOC"

    def dataset(self, split: str, rules: ReadRules) -> BoxDataset:
        return VocFolderDataset(
            self.splits[split], rules.classes, rules.invalid_boxes, rules.may_lack_classes
        )

    def class_names(self, split: str, classes: list[str] | None) -> list[str]:
        return voc_class_names(self.splits[split], classes)


def find_voc(path: Path) -> VocFolder | None:
    """The data set of a folder; None: it has no xml files of VOC.

    Raises:
        ValueError: there are several years, or two folders of one split.
    """
    years = [place for place in sorted(path.iterdir()) if _is_year(place)]
    if len(years) > 1:
        raise ValueError(
            f"{path}: VOC: {len(years)} candidates: {', '.join(year.name for year in years)}; give "
            f"one of them, data.path={years[0]}, or take configs/voc, which joins years"
        )
    folder = years[0] if years else path
    lists = _lists(folder)
    if lists:
        annotations = folder / "Annotations"
        images = voc_image_folder(annotations)
        places = one_each(path, lists.items(), "VOC", "remove one")
        splits = {split: VocSource(annotations, images, file) for split, file in places.items()}
        return VocFolder(path, relative(folder / "ImageSets/Main", path), splits)
    found = [*_xml_folders(folder)]
    if not found:
        return None
    places = one_each(path, found, "VOC", "give one of them as data.path")
    marks = ", ".join(
        f"{relative(place, path)}/*.xml".removeprefix("./") for place in places.values()
    )
    splits = {split: VocSource(place, voc_image_folder(place)) for split, place in places.items()}
    return VocFolder(path, marks, splits)


def _is_year(place: Path) -> bool:
    return bool(_YEAR.fullmatch(place.name)) and (place / "Annotations").is_dir()


def _lists(folder: Path) -> dict[str, Path]:
    """Lists of VOC's splits; those with an underscore are of one class."""
    lists = folder / "ImageSets" / "Main"
    if not _has_xml(folder / "Annotations"):
        return {}
    names = ("train", "val", "test", "trainval")
    return {name: lists / f"{name}.txt" for name in names if (lists / f"{name}.txt").is_file()}


def _xml_folders(folder: Path) -> Iterator[tuple[str, Path]]:
    of_splits = [
        (split, place / inner)
        for split, place in split_folders(folder)
        for inner in ("", "Annotations", "annotations")
        if _has_xml(place / inner)
    ]
    yield from of_splits
    inside = dict.fromkeys(folder / name for name in ("", "Annotations", "annotations", "xml"))
    different = {place.resolve(): place for place in reversed(inside) if place.is_dir()}
    for place in () if of_splits else reversed(different.values()):
        if _has_xml(place):
            yield ALL, place


def _has_xml(folder: Path) -> bool:
    """Whether a folder has xml files of VOC."""
    return folder.is_dir() and any(map(_is_voc, islice(folder.glob("*.xml"), _TRIED_FILES)))


def _is_voc(file: Path) -> bool:
    try:
        with file.open("rb") as content:
            return re.search(rb"<annotation[\s>]", content.read(_HEAD)) is not None
    except OSError:
        return False
