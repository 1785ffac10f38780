"""Reads a COCO json file and validates it, so that no later code has to; boxes apart."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

from lowres_d2.data.datasets.json_values import is_finite, is_whole, shortened
from lowres_d2.data.datasets.yolo import check_not_yolo

_SECTIONS = ("images", "annotations", "categories")


def read_json(json_file: str | Path, what: str) -> Any:
    """Parse an annotation file.

    Args:
        json_file: the file.
        what: what the file should be, for messages.
    """
    path = Path(json_file)
    check_not_yolo(path)
    if path.is_dir():
        raise FileNotFoundError(
            f"{path}: is a folder; give {what} in it (datasets/README.md has the layouts)"
        )
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
    """Parse a COCO file.

    One of a test set may lack ``annotations``, and then ``categories``, too; it gets empty lists.
    """
    path = Path(json_file)
    content = read_json(path, "a COCO json file")
    if isinstance(content, list):
        raise ValueError(
            f"{path}: is a list, perhaps of detections; expected a COCO ground truth, "
            f"an object with {', '.join(_SECTIONS)}"
        )
    if isinstance(content, dict) and content.setdefault("annotations", []) == []:
        content.setdefault("categories", [])
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


def index_by_id(path: Path, section: str, entries: Iterable[dict]) -> dict[int, dict]:
    """Entries of a section of a file by their id.

    Raises:
        ValueError: an id is no whole number, or occurs twice.
    """
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


def checked_images(path: Path, content: dict) -> dict[int, dict]:
    """Image id -> entry with ``file_name``, ``height`` and ``width``, in the file's order."""
    images = index_by_id(path, "images", content["images"])
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
