"""Tsinghua-Tencent 100K: traffic signs in street views of 2048x2048 pixels.

Zhu et al., "Traffic-Sign Detection and Classification in the Wild" (CVPR 2016). The data set's
``annotations.json`` has for each image ``{"id": 7, "path": "train/7.jpg", "objects":
[{"category": "pl40", "bbox": {"xmin": 1.5, "ymin": 2, "xmax": 21.5, "ymax": 22}}]}``: continuous
pixel coordinates from 0, so that a side is max - min. Outlines of the signs are not read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lowres_d2.data.datasets.base import BoxDataset, log_left_out, make_annotation
from lowres_d2.data.datasets.boxes import BoxPolicy
from lowres_d2.data.datasets.categories import select_classes
from lowres_d2.data.datasets.coco_json import read_json
from lowres_d2.data.datasets.image_folder import checked_image_root
from lowres_d2.data.datasets.json_values import is_finite, is_whole
from lowres_d2.data.datasets.voc_files import read_voc_xml

SPLITS = ("train", "test", "other")
SIDE = 2048  # pixels, of every image; annotations.json does not have it

# The classes that the benchmark scores: those with more than 100 objects in train and test together
# (31 to 34 objects of the rarest are in test, so the threshold cannot be meant for train alone).
TT100K_CLASSES = [
    "i2", "i4", "i5", "il100", "il60", "il80", "io", "ip", "p10", "p11", "p12", "p19", "p23", "p26",
    "p27", "p3", "p5", "p6", "pg", "ph4", "ph4.5", "ph5", "pl100", "pl120", "pl20", "pl30", "pl40",
    "pl5", "pl50", "pl60", "pl70", "pl80", "pm20", "pm30", "pm55", "pn", "pne", "po", "pr40", "w13",
    "w32", "w55", "w57", "w59", "wo",
]  # fmt: skip

_COUNTED = ("train", "test")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class Sign(NamedTuple):
    """A sign: class name, XYWH box in pixels (or what the file has instead), 'difficult' or not."""

    name: str
    bbox: object
    difficult: bool = False


class SignImage(NamedTuple):
    """The annotations of one image."""

    image_id: int
    split: str
    file_name: str
    height: int
    width: int
    signs: list[Sign]


class SignAnnotations(NamedTuple):
    """All images of a file or folder, and the names of classes that may occur."""

    images: list[SignImage]
    types: list[str]


def is_tt100k_json(path: str | Path) -> bool:
    """Whether a file begins like TT100K's ``annotations.json``, as no COCO file does."""
    with Path(path).open("rb") as file:
        return re.match(rb'\s*\{\s*"(imgs|types)"\s*:', file.read(64)) is not None


def read_tt100k(annotations: str | Path, split: str = "train") -> SignAnnotations:
    """Read all images of the annotations; boxes are not checked.

    Args:
        annotations: ``annotations.json``, or a folder of VOC xml files named after the image ids.
        split: split that the folder of xml files is; a json file names the split of each image.
    """
    path = Path(annotations)
    if path.is_dir():
        files = sorted(path.glob("*.xml"))
        if not files:
            raise FileNotFoundError(f"{path}: has no xml files; expected TT100K's as VOC xml")
        images = [_image_of_xml(file, split) for file in files]
        return SignAnnotations(images, _all_names(TT100K_CLASSES, images))
    content = read_json(path, "TT100K's annotations.json, or a folder of VOC xml files")
    entries = content.get("imgs") if isinstance(content, dict) else None
    if not isinstance(entries, dict):
        raise ValueError(f"{path}: is not TT100K's annotations.json, it has no object 'imgs'")
    images = [_image(f"{path}: imgs[{key!r}]", entry) for key, entry in entries.items()]
    for image_id, number in Counter(image.image_id for image in images).items():
        if number > 1:
            raise ValueError(f"{path}: id {image_id} occurs {number} times in 'imgs'; expected one")
    types = content.get("types", [])
    if not isinstance(types, list) or not all(isinstance(name, str) for name in types):
        raise ValueError(f"{path}: 'types' is not a list of class names")
    return SignAnnotations(images, _all_names(types, images))


def _all_names(types: Iterable[str], images: Sequence[SignImage]) -> list[str]:
    return sorted({*types} | {sign.name for image in images for sign in image.signs})


def _image(where: str, entry: object) -> SignImage:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is not an object; expected id, path and objects")
    if not is_whole(entry.get("id")):
        raise ValueError(f"{where} has id {entry.get('id')!r}; expected a whole number")
    name = entry.get("path")
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if len(parts) < 2 or parts[0] not in SPLITS:
        raise ValueError(
            f"{where} has path {name!r}; expected one like 'train/7.jpg', in {', '.join(SPLITS)}"
        )
    if not isinstance(entry.get("objects"), list):
        raise ValueError(f"{where} has no list 'objects'")
    signs = []
    for position, found in enumerate(entry["objects"]):
        category = found.get("category") if isinstance(found, dict) else None
        if not isinstance(category, str) or not category.strip():
            raise ValueError(
                f"{where}.objects[{position}] has category {category!r}; expected a class name"
            )
        signs.append(Sign(category, _xywh(found.get("bbox"))))
    return SignImage(entry["id"], parts[0], name, SIDE, SIDE, signs)


def _xywh(corners: object) -> object:
    """The XYWH box; anything but corners is returned as it is, for the checks of boxes."""
    if not isinstance(corners, dict) or not all(is_finite(corners.get(key)) for key in _CORNERS):
        return corners
    x0, y0, x1, y1 = (corners[key] for key in _CORNERS)
    return [x0, y0, x1 - x0, y1 - y0]


def _image_of_xml(path: Path, split: str) -> SignImage:
    if not path.stem.isdecimal():
        raise ValueError(f"{path}: expected the image's id as file name, like 1012.xml")
    image = read_voc_xml(path)
    signs = []
    for found in image.objects:
        # These corners are TT100K's own, truncated to integers; read_voc_xml takes them for VOC's,
        # which count from 1.
        x, y, width, height = found.bbox
        signs.append(Sign(found.name, [x + 1, y + 1, width - 1, height - 1], found.difficult))
    name = f"{split}/{path.stem}.jpg"
    return SignImage(int(path.stem), split, name, image.height, image.width, signs)


def count_signs(images: Sequence[SignImage]) -> Counter[str]:
    """Number of signs of each class in train and test, by which the benchmark chose its classes."""
    return Counter(sign.name for p in images if p.split in _COUNTED for sign in p.signs)


class Tt100kDataset(BoxDataset):
    """Detectron2 dataset dicts of Tsinghua-Tencent 100K, checked.

    Args:
        annotations: ``annotations.json``, or a folder of VOC xml files named after the image ids,
            all of which belong to the split.
        image_root: folder with ``train`` and ``test`` in it. None: searched for beside the
            annotations.
        split: "train", "test" or "other".
        classes: the classes to use, in this order (``TT100K_CLASSES``: the benchmark's); signs of
            others are left out and counted. None: those with more than ``min_instances`` signs.
        min_instances: number of signs, in train and test together, that a class has to exceed;
            used without ``classes``.
        invalid_boxes: "error" or "skip", as in ``CocoDataset``.
        check_images: whether every image must exist now.
        may_lack_classes: as in ``CocoDataset``.
    """

    def __init__(
        self,
        annotations: str | Path,
        image_root: str | Path | None = None,
        split: str = "train",
        classes: list[str] | None = None,
        min_instances: int = 100,
        invalid_boxes: str = "error",
        check_images: bool = True,
        may_lack_classes: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split={split!r}: expected one of {', '.join(SPLITS)}")
        path = Path(annotations)
        everything = read_tt100k(path, split)
        names = _chosen_classes(path, everything, classes, min_instances, may_lack_classes)
        images = [image for image in everything.images if image.split == split]
        files = [image.file_name for image in images]
        root = checked_image_root(path, files, image_root, check_images)
        super().__init__(
            _records(path, images, root, names, invalid_boxes),
            names,
            source=f"{path} ({split})",
            json_file=path if path.is_file() else None,
            image_root=root,
        )


def _chosen_classes(
    path: Path,
    everything: SignAnnotations,
    classes: list[str] | None,
    min_instances: int,
    may_lack_classes: bool,
) -> list[str]:
    if classes is not None:
        known = dict(enumerate(everything.types))
        return list(select_classes(path, known, classes, may_lack_classes).values())
    counts = count_signs(everything.images)
    names = sorted(name for name, number in counts.items() if number > min_instances)
    if not names:
        raise ValueError(
            f"{path}: no class has more than min_instances={min_instances} signs in "
            f"{' and '.join(_COUNTED)}; give dataset.classes=[...] or lower it"
        )
    return names


def _records(
    path: Path, images: Sequence[SignImage], root: Path, names: list[str], invalid_boxes: str
) -> list[dict]:
    policy = BoxPolicy(path, invalid_boxes)
    contiguous = {name: k for k, name in enumerate(names)}
    left_out: Counter[str] = Counter()
    records, number = [], 0
    for image in images:
        record = {
            "file_name": str(root / image.file_name),
            "height": image.height,
            "width": image.width,
            "image_id": image.image_id,
            "annotations": [],
        }
        for position, sign in enumerate(image.signs):
            if sign.name not in contiguous:
                left_out[sign.name] += 1
                continue
            bbox = policy.admit(sign.bbox, record, f"objects[{position}] ({sign.name})")
            if bbox is None:
                continue
            number += 1
            crowd = int(sign.difficult)
            annotation = make_annotation(number, contiguous[sign.name], bbox, iscrowd=crowd)
            if bbox is not sign.bbox:
                annotation["unclipped_bbox"] = sign.bbox
            record["annotations"].append(annotation)
        records.append(record)
    policy.close()
    log_left_out(path, left_out)
    return records
