"""COCO's json format: to dataset dicts, and back.

Category ids: a json has ids of its own, with gaps or not; dataset dicts of a named data set have
0 .. classes-1 in the order of the json's ids, and its metadata holds the way from one to the other
(`thing_dataset_id_to_contiguous_id`). Boxes of the json are XYWH in pixels.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
from collections import defaultdict
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from detectron2._uncovered import uncovered
from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathManager

from ..catalog import DatasetCatalog, MetadataCatalog

__all__ = [
    "convert_to_coco_dict",
    "convert_to_coco_json",
    "load_coco_json",
    "load_sem_seg",
    "register_coco_instances",
]

logger = logging.getLogger(__name__)

load_sem_seg = uncovered("load_sem_seg")


def load_coco_json(
    json_file: str,
    image_root: str,
    dataset_name: str | None = None,
    extra_annotation_keys: list[str] | None = None,
) -> list[dict]:
    """Read a json of COCO's instances format.

    Args:
        json_file: the annotation file.
        image_root: folder that its `file_name` are relative to.
        dataset_name: whose metadata to fill with `thing_classes` and
            `thing_dataset_id_to_contiguous_id`; category ids become contiguous. None leaves them.
        extra_annotation_keys: keys of annotations to keep besides `iscrowd`, `bbox`, `keypoints`,
            `category_id` and `segmentation`.

    Returns:
        Dataset dicts in the order of image ids. Objects whose polygons are all invalid are left
        out, as in COCO's own use of them.
    """
    with PathManager.open(json_file, encoding="utf-8") as file:
        content = json.load(file)
    for key in ("images", "annotations", "categories"):
        if key not in content and (key == "images" or dataset_name is not None):
            if key == "annotations":  # the json of a test set
                continue
            raise ValueError(f"{json_file}: no {key!r}: not a json of COCO's instances format")
    contiguous = None
    if dataset_name is not None:
        contiguous = _register_categories(content["categories"], dataset_name, json_file)

    annotations_of = defaultdict(list)
    seen = set()
    for annotation in content.get("annotations", ()):
        # The 2014 minival json is known to repeat ids.
        if annotation["id"] in seen and "minival" not in os.path.basename(json_file):
            raise ValueError(f"{json_file}: annotation id {annotation['id']} is used twice")
        seen.add(annotation["id"])
        annotations_of[annotation["image_id"]].append(annotation)

    keys = ("iscrowd", "bbox", "keypoints", "category_id", *(extra_annotation_keys or ()))
    images = []
    for image in sorted(content["images"], key=lambda image: image["id"]):
        objects = []
        for annotation in annotations_of[image["id"]]:
            try:
                read = _read_annotation(annotation, keys, contiguous)
            except ValueError as error:
                place = f"{json_file}: annotation {annotation['id']} of image {image['id']}"
                raise ValueError(f"{place}: {error}") from None
            if read is not None:
                objects.append(read)
        images.append(
            {
                "file_name": os.path.join(image_root, image["file_name"]),
                "height": image["height"],
                "width": image["width"],
                "image_id": image["id"],
                "annotations": objects,
            }
        )
    logger.info(f"Loaded {len(images)} images in COCO format from {json_file}")
    return images


def _register_categories(categories: list[dict], name: str, json_file: str) -> dict[int, int]:
    """Write the classes into the metadata of `name`; json id -> contiguous id."""
    categories = sorted(categories, key=lambda category: category["id"])
    ids = [category["id"] for category in categories]
    metadata = MetadataCatalog.get(name)
    metadata.thing_classes = [category["name"] for category in categories]
    if "coco" not in name and ids != list(range(1, len(ids) + 1)):
        logger.warning(
            f"{json_file}: category ids are not 1 to {len(ids)}: they are mapped to 0 to "
            f"{len(ids) - 1} in their order"
        )
    metadata.thing_dataset_id_to_contiguous_id = {old: new for new, old in enumerate(ids)}
    return metadata.thing_dataset_id_to_contiguous_id


def _read_annotation(
    annotation: dict, keys: tuple[str, ...], contiguous: dict[int, int] | None
) -> dict | None:
    """One object as a dataset dict has it; None if its polygons are all invalid."""
    if annotation.get("ignore", 0):
        raise ValueError("'ignore' is not supported: remove the object, or make it 'iscrowd'")
    read: dict[str, Any] = {key: annotation[key] for key in keys if key in annotation}
    if len(read.get("bbox", (0,))) == 0:
        raise ValueError("its 'bbox' is empty: give it x, y, width, height")
    if annotation.get("segmentation"):
        read["segmentation"] = _read_segmentation(annotation["segmentation"])
        if not read["segmentation"]:
            return None
    if read.get("keypoints"):
        # Pixel indices become coordinates of pixel centres; each third number is the visibility.
        read["keypoints"] = [
            value if i % 3 == 2 else value + 0.5 for i, value in enumerate(read["keypoints"])
        ]
    read["bbox_mode"] = BoxMode.XYWH_ABS
    if contiguous is not None:
        category = annotation["category_id"]
        if category not in contiguous:
            raise ValueError(
                f"category_id {category} is not among 'categories', which have the ids "
                f"{sorted(contiguous)}"
            )
        read["category_id"] = contiguous[category]
    return read


def _read_segmentation(segmentation: dict | list) -> dict | list:
    """RLE in compressed form, or the polygons of at least three points."""
    if isinstance(segmentation, dict):
        if isinstance(segmentation["counts"], list):
            return mask_util.frPyObjects(segmentation, *segmentation["size"])
        return segmentation
    return [polygon for polygon in segmentation if len(polygon) % 2 == 0 and len(polygon) >= 6]


def convert_to_coco_dict(dataset_name: str) -> dict:
    """A registered data set as the content of a COCO json, with its own category ids if known."""
    metadata = MetadataCatalog.get(dataset_name)
    contiguous = metadata.get("thing_dataset_id_to_contiguous_id", {})
    original = {new: old for old, new in contiguous.items()}
    images, annotations = [], []
    for index, entry in enumerate(DatasetCatalog.get(dataset_name)):
        image = {
            "id": entry.get("image_id", index),
            "width": int(entry["width"]),
            "height": int(entry["height"]),
            "file_name": str(entry["file_name"]),
        }
        images.append(image)
        for annotation in entry.get("annotations", ()):
            category = annotation["category_id"]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    **_written_annotation(annotation),
                    "category_id": int(original.get(category, category)),
                }
            )
    return {
        "info": {
            "date_created": str(datetime.datetime.now()),
            "description": f"{dataset_name}, converted from Detectron2's dataset dicts",
        },
        "licenses": None,
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": original.get(i, i), "name": name}
            for i, name in enumerate(metadata.thing_classes)
        ],
    }


def _written_annotation(annotation: dict) -> dict:
    """Box, area and, where there are, mask and keypoints of one object in the json's form."""
    box = np.asarray(annotation["bbox"], dtype=float)
    if box.shape not in ((4,), (5,)):
        raise ValueError(f"a box has 4 numbers, or 5 if rotated; got {annotation['bbox']!r}")
    mode = BoxMode.XYWH_ABS if len(box) == 4 else BoxMode.XYWHA_ABS
    box = BoxMode.convert(box, annotation["bbox_mode"], mode)
    written = {
        "bbox": [round(value, 3) for value in box.tolist()],
        "area": float(box[2] * box[3]),
        "iscrowd": int(annotation.get("iscrowd", 0)),
    }
    if annotation.get("segmentation") is not None:
        segmentation = annotation["segmentation"]
        written["area"] = _mask_area(segmentation)
        if isinstance(segmentation, dict) and isinstance(segmentation["counts"], bytes):
            segmentation = {**segmentation, "counts": segmentation["counts"].decode("ascii")}
        written["segmentation"] = segmentation
    if annotation.get("keypoints") is not None:
        points = np.asarray(annotation["keypoints"], dtype=float).reshape(-1, 3)
        points[:, :2] -= 0.5  # back to pixel indices
        written["keypoints"] = points.flatten().tolist()
        written["num_keypoints"] = int((points[:, 2] > 0).sum())
    return written


def _mask_area(segmentation: dict | list) -> float:
    """Area in pixels: of an RLE, or by the shoelace formula of polygons."""
    if isinstance(segmentation, dict):
        if isinstance(segmentation["counts"], list):
            segmentation = mask_util.frPyObjects(segmentation, *segmentation["size"])
        return float(mask_util.area(segmentation))
    area = 0.0
    for polygon in segmentation:
        x, y = np.asarray(polygon, dtype=float).reshape(-1, 2).T
        area += 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
    return float(area)


def convert_to_coco_json(dataset_name: str, output_file: str, allow_cached: bool = True) -> None:
    """Write a registered data set as a COCO json.

    Args:
        dataset_name: a name in the DatasetCatalog.
        output_file: where to.
        allow_cached: leave an existing file as it is, even if the data set has changed since.
    """
    PathManager.mkdirs(os.path.dirname(output_file) or ".")
    if PathManager.exists(output_file) and allow_cached:
        logger.warning(
            f"{output_file} exists and is used as it is: remove it if {dataset_name!r} has changed"
        )
        return
    content = convert_to_coco_dict(dataset_name)
    # Beside and then renamed: other processes see the whole file or none.
    temporary = f"{output_file}.{os.getpid()}.tmp"
    with PathManager.open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.replace(temporary, output_file)
    logger.info(f"Wrote {dataset_name!r} in COCO format to {output_file}")


def register_coco_instances(name: str, metadata: dict, json_file: str, image_root: str) -> None:
    """Register a data set in COCO's instances format; nothing is read yet.

    Registering the same files again under the same name does nothing; other files are an error.

    Args:
        name: the data set's name.
        metadata: more facts for its metadata.
        json_file: the annotation file.
        image_root: folder that its `file_name` are relative to.
    """
    if not isinstance(name, str):
        raise TypeError(f"register_coco_instances: name must be a str, got {name!r}")
    facts = {"json_file": json_file, "image_root": image_root, "evaluator_type": "coco"}
    known = MetadataCatalog.get(name)
    if name in DatasetCatalog and all(known.get(key) == facts[key] for key in facts):
        known.set(**metadata)
        return
    DatasetCatalog.register(name, lambda: load_coco_json(json_file, image_root, name))
    known.set(**facts, **metadata)
