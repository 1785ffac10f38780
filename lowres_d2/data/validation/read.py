"""Reads annotation files into plain records in COCO format, without checking their content."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from lowres_d2.data.datasets import BoxDataset
from lowres_d2.data.datasets.categories import bare_supercategory
from lowres_d2.data.datasets.coco_json import read_coco_json
from lowres_d2.data.datasets.dota import find_dota_split, is_dota_folder, read_dota_labels
from lowres_d2.data.datasets.dota.dataset import image_size
from lowres_d2.data.datasets.image_folder import find_image_root
from lowres_d2.data.datasets.tt100k import is_tt100k_json, read_tt100k
from lowres_d2.data.datasets.visdrone import (
    VISDRONE_CLASSES,
    is_visdrone_folder,
    read_visdrone_labels,
)
from lowres_d2.data.datasets.voc_files import (
    check_not_fractions,
    image_names,
    listed_stems,
    read_voc_xml,
    voc_image_folder,
)
from lowres_d2.data.datasets.widerface import FaceImage, is_wider_file, read_wider_faces
from lowres_d2.data.datasets.yolo import check_not_yolo
from lowres_d2.data.validation.findings import Check, Findings
from lowres_d2.data.validation.split import Split

_Object = tuple[str, object, bool]  # class, XYWH box, whether it is an ignore region

UNREADABLE = Check(
    "file-unreadable", "error", "annotation files that cannot be read", "see the error of each"
)
NAMES_DIFFER = Check(
    "file-name-differs",
    "info",
    "annotation files whose <filename> does not match their own name",
    "the annotation file's own name is used, as in VOC",
)
AMBIGUOUS = Check(
    "folder-ambiguous",
    "error",
    "annotation files whose images several folders have",
    "say which folder is meant: --images, or image_root in a recipe",
)
SUPERCATEGORY = Check(
    "category-super",
    "info",
    "categories without an object that are only the supercategory of all others (Roboflow's form)",
    "left out, in training as well; classes=[...] can ask for it",
)


def read_split(
    source: str | Path,
    findings: Findings,
    name: str | None = None,
    images: str | Path | None = None,
    **settings: Any,
) -> Split | None:
    """Read a split of a data set from its annotations.

    Args:
        source: a COCO json file; TT100K's ``annotations.json``; a folder of VOC xml files (or with
            ``Annotations`` in it); a list of VOC, like ``VOC2007/ImageSets/Main/train.txt``;
            DOTA's folder ``labelTxt`` or VisDrone's ``annotations``, with ``images`` beside it; or
            a file of WiderFace's faces.
        findings: collects what cannot be read.
        name: name of the split in the report; by default that of the file.
        images: folder of the images; None: searched for beside the annotations.
        settings: further attributes of the split.

    Returns:
        The split, or None if nothing could be read.
    """
    path = Path(source)
    name = name or path.stem
    try:
        if path.is_dir():
            annotations = path / "Annotations" if (path / "Annotations").is_dir() else path
            files = sorted(annotations.glob("*.xml"))
            if not files and is_dota_folder(path):
                return _read_dota(path, findings, name, images, settings)
            if not files and is_visdrone_folder(path):
                return _read_visdrone(path, findings, name, images, settings)
            if not files:  # annotation programs write YOLO's classes.txt beside VOC's files
                check_not_yolo(path)
            return read_voc(path, files, findings, name, images, settings)
        check_not_yolo(path)
        if is_wider_file(path):
            return _read_faces(path, findings, name, images, settings)
        if path.suffix == ".txt":
            files = _listed_xml(path)
            return read_voc(path, files, findings, name, images, settings)
        if path.is_file() and is_tt100k_json(path):
            return _read_tt100k(path, findings, name, images, settings)
        content = read_coco_json(path)
    except (ValueError, OSError) as error:
        findings.add(UNREADABLE, name, str(error))
        return None
    names = [i["file_name"] for i in content["images"] if isinstance(i.get("file_name"), str)]
    root = _found_root(path, names, images, findings, name)
    left_out = bare_supercategory(content, settings.get("classes"))
    if left_out is not None:
        findings.add(SUPERCATEGORY, name, f"category 0: {left_out['name']}")
    categories = [category for category in content["categories"] if category is not left_out]
    return Split(
        name, path, content["images"], content["annotations"], categories, root=root, **settings
    )


def _found_root(
    path: Path,
    names: Sequence[str],
    given: str | Path | None,
    findings: Findings,
    name: str,
) -> Path | None:
    """The folder of the images; None, and a finding, where several folders have them."""
    try:
        return find_image_root(path, names, given, check_images=False)
    except ValueError as error:
        findings.add(AMBIGUOUS, name, str(error))
        return None


def split_of_dataset(dataset: BoxDataset, name: str, **settings: Any) -> Split:
    """The split of a data set that is built already, and so was checked when it was read."""
    content = dataset.coco_dict()
    corners = [record.get("corner") for record in dataset]
    root = dataset.image_root or Path()
    for image, corner in zip(content["images"], corners, strict=True):
        path = Path(image["file_name"])
        shown = path.relative_to(root) if path.is_relative_to(root) else path
        # Tiles share their file.
        tile = "" if corner is None else " [{:g}, {:g}, {:g}, {:g}]".format(*corner)
        image["file_name"] = f"{shown.as_posix()}{tile}"
    parts = (content[key] for key in ("images", "annotations", "categories"))
    # Tiles have other sizes than their files, and would be found twice.
    files = None if any(corner is not None for corner in corners) else root
    return Split(name, Path(dataset.source), *parts, root=files, **settings)


def join_splits(splits: Sequence[Split]) -> Split:
    """Several folders of VOC as one split; ids and names of images are made unique."""
    first, *others = splits
    id_of = {category["name"]: category["id"] for category in first.categories}
    for other in others:
        number = len(first.images)
        new_id = {
            category["id"]: id_of.setdefault(category["name"], len(id_of) + 1)
            for category in other.categories
        }
        root = os.path.relpath(other.root, first.root)
        first.images += [
            image | {"id": number + image["id"], "file_name": f"{root}/{image['file_name']}"}
            for image in other.images
        ]
        moved = (
            entry
            | {
                "image_id": number + entry["image_id"],
                "category_id": new_id[entry["category_id"]],
            }
            for entry in other.annotations
        )
        first.annotations += [
            entry | {"id": len(first.annotations) + k} for k, entry in enumerate(moved, start=1)
        ]
    first.categories = [{"id": k, "name": name} for name, k in id_of.items()]
    return first


def _listed_xml(path: Path) -> list[Path]:
    """Annotation files of a list in ``ImageSets/Main``."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list")
    # The list is VOC2007/ImageSets/Main/train.txt.
    folder = path.parents[2] / "Annotations"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder, for the list {path}")
    return [folder / f"{stem}.xml" for stem in listed_stems(path)]


def read_voc(
    source: Path,
    files: Sequence[Path],
    findings: Findings,
    name: str,
    images: str | Path | None,
    settings: dict,
) -> Split:
    """Read VOC's files."""
    if not files:
        raise FileNotFoundError(f"{source}: has no xml files; expected VOC's annotations")
    root = Path(images) if images is not None else voc_image_folder(files[0].parent)
    read = {}
    for path in files:
        try:
            read[path] = read_voc_xml(path)
        except (ValueError, OSError) as error:
            findings.add(UNREADABLE, name, str(error))
    check_not_fractions(source, read.values())
    names = image_names(root, {path.stem: image.file_name for path, image in read.items()})
    records, annotations = [], []
    for path, image in read.items():
        record = {
            "id": len(records) + 1,
            "file_name": names[path.stem],
            "height": image.height,
            "width": image.width,
        }
        if Path(image.file_name).stem not in ("", path.stem):
            findings.add(NAMES_DIFFER, name, f"{path.name} names {image.file_name}")
        records.append(record)
        annotations += [
            {
                # Both ids are numbered by _with_categories.
                "id": 0,
                "image_id": record["id"],
                "category_id": found.name,
                "bbox": found.bbox,
                "iscrowd": int(found.difficult),
            }
            for found in image.objects
        ]
    return _with_categories(Split(name, source, records, annotations, [], root, **settings))


def _read_tt100k(
    path: Path, findings: Findings, name: str, images: str | Path | None, settings: dict
) -> Split:
    """Read all images of TT100K's file: train and test together, with all of its classes."""
    annotated, types = read_tt100k(path)
    root = _found_root(path, [p.file_name for p in annotated], images, findings, name)
    id_of = {type_: k for k, type_ in enumerate(types, start=1)}
    signs = [(image.image_id, sign) for image in annotated for sign in image.signs]
    return Split(
        name,
        path,
        [
            {"id": p.image_id, "file_name": p.file_name, "height": p.height, "width": p.width}
            for p in annotated
        ],
        [
            {"id": k, "image_id": image_id, "category_id": id_of[sign.name], "bbox": sign.bbox}
            for k, (image_id, sign) in enumerate(signs, start=1)
        ],
        [{"id": k, "name": type_} for type_, k in id_of.items()],
        root,
        **settings,
    )


def _read_dota(
    path: Path, findings: Findings, name: str, images: str | Path | None, settings: dict
) -> Split:
    """Read DOTA's label files, as horizontal boxes."""
    folder = "images" if images is None else Path(images).absolute()
    found = find_dota_split(path.parent, path.name, folder)

    def objects(labels: Path) -> list[_Object]:
        return [(o.name, o.bbox, o.difficult > 0) for o in read_dota_labels(labels)]

    files = found.files.values()
    return _read_sized(path, found.images, files, objects, findings, name, settings)


def _read_visdrone(
    path: Path, findings: Findings, name: str, images: str | Path | None, settings: dict
) -> Split:
    """Read VisDrone's label files; regions and other vehicles, of no class, are left out."""
    root = Path(images) if images is not None else path.parent / "images"
    labels = {file.stem: file for file in sorted(path.glob("*.txt"))}
    names = image_names(root, dict.fromkeys(labels, ""))

    def objects(file: Path) -> list[_Object]:
        found = read_visdrone_labels(file)
        return [(o.name, o.bbox, not o.counts) for o in found if o.name in VISDRONE_CLASSES]

    files = [(root / names[stem], file) for stem, file in labels.items()]
    return _read_sized(path, root, files, objects, findings, name, settings)


def _read_faces(
    path: Path, findings: Findings, name: str, images: str | Path | None, settings: dict
) -> Split:
    """Read the faces of a split of WiderFace."""
    found = read_wider_faces(path)
    root = find_image_root(path, [image.name for image in found], images, check_images=True)

    def objects(image: FaceImage) -> list[_Object]:
        return [("face", *face) for face in zip(image.boxes, image.invalid, strict=True)]

    files = [(root / image.name, image) for image in found]
    return _read_sized(path, root, files, objects, findings, name, settings)


def _read_sized(
    path: Path,
    root: Path,
    files: Iterable[tuple[Path, Any]],
    objects: Callable[[Any], list[_Object]],
    findings: Findings,
    name: str,
    settings: dict,
) -> Split:
    """Images whose sizes only the files have, each with what its objects are read from."""
    records, annotations = [], []
    for image_id, (image, labels) in enumerate(files, start=1):
        try:
            width, height = image_size(image)
            found = objects(labels)
        except (ValueError, OSError) as error:
            findings.add(UNREADABLE, name, str(error))
            continue
        size = {"height": height, "width": width}
        file_name = image.relative_to(root).as_posix()
        records.append({"id": image_id, "file_name": file_name} | size)
        annotations += [
            {
                # Both ids are numbered by _with_categories.
                "id": 0,
                "image_id": image_id,
                "category_id": category,
                "bbox": bbox,
                "iscrowd": int(ignored),
            }
            for category, bbox, ignored in found
        ]
    return _with_categories(Split(name, path, records, annotations, [], root, **settings))


def _with_categories(split: Split) -> Split:
    """Number class names from 1: the wanted ones in order, then all others by name."""
    found = {entry["category_id"] for entry in split.annotations}
    wanted = list(split.classes or ())
    names = [*wanted, *sorted(found - set(wanted))]
    id_of = {name: k for k, name in enumerate(names, start=1)}
    for k, entry in enumerate(split.annotations, start=1):
        entry.update(id=k, category_id=id_of[entry["category_id"]])
    split.categories = [{"id": k, "name": name} for name, k in id_of.items()]
    return split
