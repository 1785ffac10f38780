"""Reads a COCO json file and validates it, so that no later code has to.

Boxes are XYWH in pixels of the stored image.
"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from lowres_d2.data.datasets.base import class_names

_logger = logging.getLogger(__name__)
_SECTIONS = ("images", "annotations", "categories")


def read_json(json_file: str | Path, what: str) -> Any:
    """Parse an annotation file.

    Args:
        json_file: the file.
        what: what the file should be, for messages.
    """
    path = Path(json_file)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such annotation file; give {what} (datasets/README.md has the layouts)"
        )
    try:
        # From bytes json detects UTF-8 with a byte order mark, UTF-16 and UTF-32.
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # also for too long numbers and too deep nesting
        raise ValueError(f"{path}: is not JSON ({error})") from None


def read_coco_json(json_file: str | Path) -> dict:
    """Parse a COCO ground-truth file."""
    path = Path(json_file)
    content = read_json(path, "a COCO json file")
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
            raise ValueError(f"{path}: '{section}' has entries that are not JSON objects")
    return content


def count_classes(json_file: str | Path, classes: Sequence[str] | None = None) -> int:
    """Number of classes for ``num_classes`` of a recipe.

    Args:
        json_file: a COCO json file.
        classes: classes that are used; None: all in the file.
    """
    path = Path(json_file)
    return len(select_classes(path, checked_categories(path, read_coco_json(path)), classes))


def is_whole(value: object) -> bool:
    """Whether a value is an integer; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_finite(value: object) -> bool:
    """Whether a value is a finite number below 1e15; JSON may hold 10**999 and NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _index_by_id(path: Path, section: str, entries: Iterable[dict]) -> dict[int, dict]:
    index: dict[int, dict] = {}
    for position, entry in enumerate(entries):
        key = entry.get("id")
        if not is_whole(key):
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
    # COCO's ids have gaps (80 classes, ids up to 90): a class's label is its position.
    for category_id, category in sorted(
        _index_by_id(path, "categories", content["categories"]).items()
    ):
        name = category.get("name")
        if not isinstance(name, str):
            raise ValueError(f"{path}: category {category_id} has name {name!r}; expected a string")
        if name in names.values():
            raise ValueError(f"{path}: two categories are called '{name}'; names must be unique")
        names[category_id] = name
    return names


def select_classes(
    path: Path, categories: dict[int, str], classes: Sequence[str] | None
) -> dict[int, str]:
    """Category id -> name of the classes to use, in the order of ``classes``; None: all."""
    if classes is None:
        return categories
    classes = class_names(classes)
    id_of = {name: category_id for category_id, name in categories.items()}
    for name in classes:
        if name not in id_of:
            near = difflib.get_close_matches(name, id_of, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it has {shortened(id_of)}"
            raise ValueError(f"{path}: has no class '{name}'; {hint}")
    if len(set(classes)) < len(classes):
        raise ValueError(f"{path}: classes={classes} names a class twice")
    return {id_of[name]: name for name in classes}


def shortened(names: Iterable[str], limit: int = 10) -> str:
    """The first few names as text, and how many there are in all."""
    names = list(names)
    return ", ".join(names[:limit]) + (f", ... ({len(names)})" if len(names) > limit else "")


def checked_images(path: Path, content: dict) -> dict[int, dict]:
    """Image id -> entry with ``file_name``, ``height`` and ``width``, in the file's order."""
    images = _index_by_id(path, "images", content["images"])
    for image_id, image in images.items():
        name = image.get("file_name")
        if not isinstance(name, str) or not name:
            raise ValueError(f"{path}: image {image_id} has no 'file_name'")
        for key in ("height", "width"):
            value = image.get(key)
            if not is_whole(value) or value <= 0:
                raise ValueError(
                    f"{path}: image {image_id} ({name}) has {key} {value!r}; expected a positive "
                    "whole number"
                )
    return images


def checked_annotations(
    path: Path, content: dict, images: dict[int, dict], categories: dict[int, str]
) -> Iterable[dict]:
    """Check ids, references, ``area`` and ``iscrowd`` of all annotations, and yield them.

    Annotations without an id get an unused one. Boxes are checked by :class:`BoxPolicy`.
    """
    given = {a["id"] for a in content["annotations"] if is_whole(a.get("id"))}
    free_ids = count(max(given, default=0) + 1)
    seen: set[int] = set()
    for position, entry in enumerate(content["annotations"]):
        if "id" not in entry:
            entry = entry | {"id": next(free_ids)}
        what = f"{path}: annotation {entry['id']}"
        if not is_whole(entry["id"]):
            raise ValueError(
                f"{path}: annotations[{position}] has id {entry['id']!r}; expected a whole number"
            )
        if entry["id"] in seen:
            raise ValueError(f"{what} occurs twice; ids must be unique")
        seen.add(entry["id"])
        for key, section, known in (
            ("image_id", "images", images),
            ("category_id", "categories", categories),
        ):
            value = entry.get(key)
            if not is_whole(value) or value not in known:
                there = shortened(map(str, known))
                raise ValueError(
                    f"{what} has {key} {value!r}, which is not in '{section}' ({there})"
                )
        if "area" in entry and not (is_finite(entry["area"]) and entry["area"] >= 0):
            raise ValueError(
                f"{what} has area {entry['area']!r}; expected a number, 0 or more, or no 'area'"
            )
        if entry.get("iscrowd", 0) not in (0, 1):
            raise ValueError(
                f"{what} has iscrowd {entry['iscrowd']!r}; expected 0, 1 or no 'iscrowd'"
            )
        yield entry


def box_fault(bbox: object, height: int, width: int) -> str | None:
    """Why a box is invalid, or None. A box that is only partly outside its image is valid.

    Args:
        bbox: (x, y, width, height) as found in the file.
        height: height of the image.
        width: width of the image.
    """
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(is_finite, bbox)):
        return "is not four finite numbers"
    x, y, w, h = bbox
    if w < 0 or h < 0:
        return "has a negative side (expected x, y, width, height)"
    if w == 0 or h == 0:
        return "has no area"
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return f"lies outside the image of {width}x{height}"
    return None


def clip_box(bbox: list[float], height: int, width: int) -> list[float]:
    """The part of an XYWH box inside the image; the same list where it is inside already."""
    x, y, w, h = bbox
    if x >= 0 and y >= 0 and x + w <= width and y + h <= height:
        return bbox
    left, top = max(x, 0), max(y, 0)
    return [left, top, min(x + w, width) - left, min(y + h, height) - top]


class BoxPolicy:
    """Raises an error for the invalid boxes of one file, or skips and counts them.

    Args:
        path: the file, for messages.
        invalid_boxes: "error" raises at the first invalid box, "skip" leaves them out.
    """

    def __init__(self, path: Path, invalid_boxes: str) -> None:
        if invalid_boxes not in ("error", "skip"):
            raise ValueError(f"invalid_boxes={invalid_boxes!r}: expected 'error' or 'skip'")
        self.path = path
        self.stops = invalid_boxes == "error"
        self.num_skipped = 0
        self.num_clipped = 0

    def admit(self, bbox: object, image: dict, what: str) -> list[float] | None:
        """The box, clipped to its image, or None if it is skipped."""
        fault = box_fault(bbox, image["height"], image["width"])
        if fault is None:
            clipped = clip_box(bbox, image["height"], image["width"])
            self.num_clipped += clipped is not bbox
            return clipped
        if self.stops:
            raise ValueError(
                f"{self.path}: {what} (image {image['file_name']}): box {bbox} {fault}; correct "
                'the file or set invalid_boxes="skip"'
            )
        self.num_skipped += 1
        return None

    def log(self) -> None:
        """Log the numbers of skipped and clipped boxes."""
        if self.num_skipped:
            _logger.warning("%s: %d invalid boxes skipped", self.path, self.num_skipped)
        if self.num_clipped:
            _logger.info("%s: %d boxes clipped to their images", self.path, self.num_clipped)
