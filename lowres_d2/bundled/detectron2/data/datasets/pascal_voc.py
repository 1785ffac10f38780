"""Pascal VOC's format: one xml per image, lists of images in ImageSets/Main.

The xml counts pixels from 1 and includes both ends; a box (1, 1, w, h) covers the whole image and
becomes (0, 0, w, h) here. Objects marked difficult are kept, as in training on VOC.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree

from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathManager

from ..catalog import DatasetCatalog, MetadataCatalog

__all__ = ["CLASS_NAMES", "load_voc_instances", "register_pascal_voc"]

CLASS_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)


def load_voc_instances(
    dirname: str, split: str, class_names: list[str] | tuple[str, ...]
) -> list[dict]:
    """Read one split.

    Args:
        dirname: folder with Annotations, ImageSets and JPEGImages.
        split: name of a list in ImageSets/Main, such as "trainval".
        class_names: class of id 0, 1, ...

    Returns:
        Dataset dicts in the order of the list.
    """
    list_file = os.path.join(dirname, "ImageSets", "Main", f"{split}.txt")
    with PathManager.open(list_file, encoding="utf-8") as file:
        names = [line.split()[0] for line in file if line.strip()]
    folder = PathManager.get_local_path(os.path.join(dirname, "Annotations/"))
    index_of = {name: index for index, name in enumerate(class_names)}
    images = []
    for name in names:
        xml_file = os.path.join(folder, f"{name}.xml")
        with PathManager.open(xml_file, encoding="utf-8") as file:
            try:
                root = ElementTree.parse(file).getroot()
                objects = [_read_object(element, index_of) for element in root.iter("object")]
                height, width = (int(root.findtext(f"size/{k}")) for k in ("height", "width"))
            except (ElementTree.ParseError, TypeError, ValueError) as error:
                raise ValueError(f"{xml_file}: not an annotation of Pascal VOC: {error}") from error
        images.append(
            {
                "file_name": os.path.join(dirname, "JPEGImages", f"{name}.jpg"),
                "image_id": name,
                "height": height,
                "width": width,
                "annotations": objects,
            }
        )
    return images


def _read_object(element: ElementTree.Element, index_of: dict[str, int]) -> dict:
    name = element.findtext("name")
    if name not in index_of:
        raise ValueError(f"class {name!r} is not one of {', '.join(index_of)}")
    x1, y1, x2, y2 = (
        float(element.findtext(f"bndbox/{k}")) for k in ("xmin", "ymin", "xmax", "ymax")
    )
    return {
        "category_id": index_of[name],
        "bbox": [x1 - 1.0, y1 - 1.0, x2, y2],
        "bbox_mode": BoxMode.XYXY_ABS,
    }


def register_pascal_voc(
    name: str,
    dirname: str,
    split: str,
    year: int,
    class_names: list[str] | tuple[str, ...] = CLASS_NAMES,
) -> None:
    """Register a split of a VOC folder; nothing is read yet.

    Args:
        name: the data set's name.
        dirname: folder with Annotations, ImageSets and JPEGImages.
        split: name of a list in ImageSets/Main.
        year: 2007 or 2012; decides how the evaluator integrates precision.
        class_names: class of id 0, 1, ...
    """
    DatasetCatalog.register(name, lambda: load_voc_instances(dirname, split, class_names))
    MetadataCatalog.get(name).set(
        thing_classes=list(class_names), dirname=dirname, year=year, split=split
    )
