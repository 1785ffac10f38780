"""Pascal VOC: xml files listed by ``ImageSets/Main``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from lowres_d2.data.datasets.base import BoxDataset, class_names, make_annotation
from lowres_d2.data.datasets.coco import check_images_exist
from lowres_d2.data.datasets.coco_json import BoxPolicy, is_finite

VOC_CLASSES = [
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
]  # fmt: skip


class VocObject(NamedTuple):
    """An object of an xml file: class name, XYWH box in pixels, and whether it is 'difficult'."""

    name: str
    bbox: list[float]
    difficult: bool


class VocImage(NamedTuple):
    """The content of one xml file."""

    file_name: str
    height: int
    width: int
    objects: list[VocObject]


def read_voc_xml(path: str | Path) -> VocImage:
    """Read one annotation file.

    VOC counts pixels from 1 and includes the last one, so pixels a to b cover a - 1 to b.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such annotation file")
    try:
        tree = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the last two: encodings
        raise ValueError(f"{path}: is not XML ({error})") from None
    height, width = (_number(path, tree, f"size/{side}") for side in ("height", "width"))
    if height <= 0 or width <= 0:
        raise ValueError(
            f"{path}: size is {width:g}x{height:g}; expected the image's width and height"
        )
    objects = []
    for node in tree.iterfind("object"):
        x0, y0, x1, y1 = (
            _number(path, node, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")
        )
        # Detectron2's load_voc_instances also subtracts 1 from xmin and ymin only.
        box = [x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1]
        objects.append(VocObject(_text(path, node, "name"), box, node.findtext("difficult") == "1"))
    return VocImage(tree.findtext("filename") or "", int(height), int(width), objects)


def _text(path: Path, node: ElementTree.Element, key: str) -> str:
    text = node.findtext(key)
    if not text:
        raise ValueError(f"{path}: <{node.tag}> has no <{key.replace('/', '><')}>")
    return text.strip()


def _number(path: Path, node: ElementTree.Element, key: str) -> float:
    text = _text(path, node, key)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not is_finite(number):
        raise ValueError(f"{path}: {key} is '{text}'; expected a number")
    return number


class VocDataset(BoxDataset):
    """Detectron2 dataset dicts from folders ``VOC<year>``.

    Objects marked 'difficult' become crowds: not used in training, ignored in evaluation.

    Args:
        root: folder that has ``VOC2007``, ``VOC2012`` and so on in it.
        split: a list in ``ImageSets/Main``, such as "trainval" or "test".
        year: one year, or several whose images are joined.
        classes: class names; VOC's twenty by default.
        invalid_boxes: "error" or "skip", as in ``CocoDataset``.
        check_images: whether every image must exist now.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "trainval",
        year: int | Sequence[int] = 2007,
        classes: list[str] | None = None,
        invalid_boxes: str = "error",
        check_images: bool = True,
    ) -> None:
        classes = VOC_CLASSES if classes is None else class_names(classes)
        root = Path(root)
        records: list[dict] = []
        num_boxes = 0
        for one_year in [year] if isinstance(year, int) else year:
            folder = root / f"VOC{one_year}"
            stems = _listed(folder, split)
            policy = BoxPolicy(folder, invalid_boxes)
            if check_images:
                names = [f"{stem}.jpg" for stem in stems]
                check_images_exist(folder, folder / "JPEGImages", names, "complete the folder")
            for stem in stems:
                # COCO's ids are numbers, which stems such as 2008_000002 are not.
                record = _record(folder, stem, len(records) + 1, classes, policy, num_boxes)
                num_boxes += len(record["annotations"])
                records.append(record)
            policy.log()
        super().__init__(records, classes, source=root, image_root=root)


def _listed(folder: Path, split: str) -> list[str]:
    """File stems of a split."""
    lists = folder / "ImageSets" / "Main"
    path = lists / f"{split}.txt"
    if not path.is_file():
        # Names with an underscore (cat_train) are lists for one class.
        there = ", ".join(sorted(p.stem for p in lists.glob("*.txt") if "_" not in p.stem))
        raise FileNotFoundError(
            f"{path}: no such list; "
            + (f"there are {there}" if there else "see datasets/README.md for VOC's layout")
        )
    return listed_stems(path)


def listed_stems(path: Path) -> list[str]:
    """First word of each line of a list in ``ImageSets/Main``."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not text ({error}); expected one name per line") from None
    # Lists for one class have a second column: 1, -1, or 0 for 'difficult'.
    return [line.split()[0] for line in lines if line.strip()]


def _record(
    folder: Path,
    stem: str,
    image_id: int,
    classes: list[str],
    policy: BoxPolicy,
    boxes_before: int,
) -> dict:
    path = folder / "Annotations" / f"{stem}.xml"
    annotated = read_voc_xml(path)
    image = {
        "file_name": str(folder / "JPEGImages" / f"{stem}.jpg"),
        "height": annotated.height,
        "width": annotated.width,
        "image_id": image_id,
    }
    annotations = []
    for number, found in enumerate(annotated.objects, start=1):
        if found.name not in classes:
            raise ValueError(f"{path}: class '{found.name}' is not in classes ({classes})")
        bbox = policy.admit(found.bbox, image, f"object {number} ({found.name})")
        if bbox is not None:
            annotation_id = boxes_before + len(annotations) + 1
            category = classes.index(found.name)
            # Ignored as by VOC's own evaluation, but COCO divides a crowd's intersection by the
            # detection's area and not by the union, so that more detections are ignored.
            annotations.append(
                make_annotation(annotation_id, category, bbox, iscrowd=int(found.difficult))
            )
    return image | {"annotations": annotations}
