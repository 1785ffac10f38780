"""Reads a COCO json file and checks it at the border, so that nothing after it has to.

Boxes are XYWH in pixels of the stored picture.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable
from pathlib import Path

_logger = logging.getLogger(__name__)
_SECTIONS = ("images", "annotations", "categories")


def read_coco_json(json_file: str | Path) -> dict:
    """Parse a file that must be a COCO ground truth."""
    path = Path(json_file)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such annotation file; give a COCO json file")
    try:
        content = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is not JSON ({error})") from None
    if isinstance(content, list):
        raise ValueError(
            f"{path}: is a list, perhaps of detections; expected a COCO ground truth, "
            f"an object with {', '.join(_SECTIONS)}"
        )
    for section in _SECTIONS:
        entries = content.get(section) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise ValueError(
                f"{path}: is not a COCO ground truth, it has no list '{section}'; expected "
                f"{', '.join(_SECTIONS)}"
            )
        if not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{path}: '{section}' has entries that are no objects")
    return content


def count_classes(json_file: str | Path) -> int:
    """Number of categories of a COCO json file, for ``num_classes`` of a recipe."""
    return len(read_coco_json(json_file)["categories"])


def _index_by_id(path: Path, section: str, entries: Iterable[dict]) -> dict[int, dict]:
    index: dict[int, dict] = {}
    for position, entry in enumerate(entries):
        key = entry.get("id")
        if not isinstance(key, int) or isinstance(key, bool):
            raise ValueError(
                f"{path}: {section}[{position}] has id {key!r}; expected a whole number"
            )
        if key in index:
            raise ValueError(f"{path}: id {key} occurs twice in '{section}'; ids must be unique")
        index[key] = entry
    return index


def checked_categories(path: Path, content: dict) -> dict[int, str]:
    """Category id -> name, in the order of the ids."""
    names: dict[int, str] = {}
    for category_id, category in sorted(
        _index_by_id(path, "categories", content["categories"]).items()
    ):
        name = category.get("name")
        if not isinstance(name, str):
            raise ValueError(f"{path}: category {category_id} has name {name!r}; expected a text")
        if name in names.values():
            raise ValueError(f"{path}: two categories are called '{name}'; names must be unique")
        names[category_id] = name
    return names


def checked_images(path: Path, content: dict) -> dict[int, dict]:
    """Image id -> entry with ``file_name``, ``height`` and ``width``, in the file's order."""
    images = _index_by_id(path, "images", content["images"])
    for image_id, image in images.items():
        if not isinstance(image.get("file_name"), str):
            raise ValueError(f"{path}: image {image_id} has no 'file_name'")
        for key in ("height", "width"):
            if not isinstance(image.get(key), int) or image[key] <= 0:
                raise ValueError(
                    f"{path}: image {image_id} ({image['file_name']}) has {key} "
                    f"{image.get(key)!r}; expected a positive whole number"
                )
    return images


def box_fault(bbox: object, height: int, width: int) -> str | None:
    """What makes a box useless, or None. A box that is only partly outside has no fault.

    Args:
        bbox: (x, y, width, height) as found in the file.
        height: the picture's.
        width: the picture's.
    """
    try:
        x, y, w, h = bbox
        finite = math.isfinite(x + y + w + h)
    except (TypeError, ValueError):
        finite = False
    if not finite:
        return "is not four finite numbers"
    if w < 0 or h < 0:
        return "has a negative side (expected x, y, width, height)"
    if w == 0 or h == 0:
        return "has no area"
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return f"lies outside the picture of {width}x{height}"
    return None


def clip_box(bbox: list[float], height: int, width: int) -> list[float]:
    """The part of an XYWH box inside the picture; the same list where it is inside already."""
    x, y, w, h = bbox
    if x >= 0 and y >= 0 and x + w <= width and y + h <= height:
        return bbox
    left, top = max(x, 0), max(y, 0)
    return [left, top, min(x + w, width) - left, min(y + h, height) - top]


class BoxPolicy:
    """Decides over faulty boxes of one file, and counts them.

    Args:
        path: the file, for messages.
        invalid_boxes: "error" stops at the first faulty box, "skip" leaves them out.
    """

    def __init__(self, path: Path, invalid_boxes: str) -> None:
        if invalid_boxes not in ("error", "skip"):
            raise ValueError(f"invalid_boxes={invalid_boxes!r}: expected 'error' or 'skip'")
        self.path = path
        self.stops = invalid_boxes == "error"
        self.num_skipped = 0
        self.num_clipped = 0

    def admit(self, bbox: object, image: dict, what: str) -> list[float] | None:
        """The box, clipped to its picture, or None where it is to be left out."""
        fault = box_fault(bbox, image["height"], image["width"])
        if fault is None:
            clipped = clip_box(bbox, image["height"], image["width"])
            self.num_clipped += clipped is not bbox
            return clipped
        if self.stops:
            raise ValueError(
                f"{self.path}: {what} (picture {image['file_name']}): box {bbox} {fault}; correct "
                'the file or set invalid_boxes="skip"'
            )
        self.num_skipped += 1
        return None

    def log(self) -> None:
        """Say once what was changed."""
        if self.num_skipped:
            _logger.warning("%s: %d faulty boxes left out", self.path, self.num_skipped)
        if self.num_clipped:
            _logger.info("%s: %d boxes clipped to their pictures", self.path, self.num_clipped)
