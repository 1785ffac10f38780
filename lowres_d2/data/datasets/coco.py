"""Any COCO-format data set: a json file and a folder of pictures, nothing to register."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from lowres_d2.data.datasets.base import BoxDataset, make_annotation
from lowres_d2.data.datasets.coco_json import (
    BoxPolicy,
    checked_categories,
    checked_images,
    read_coco_json,
)

_logger = logging.getLogger(__name__)
_SHOWN_NAMES = 3


class CocoDataset(BoxDataset):
    """Detectron2 dataset dicts from a COCO json file, checked.

    Args:
        json_file: COCO ground truth (``images``, ``annotations``, ``categories``).
        image_root: folder that ``file_name`` is relative to. None: it is looked for beside the
            json file: its folder and the one above, ``images`` in these, and a folder named after
            the json file (``instances_val2017.json``: ``val2017``) in any of them.
        classes: the classes to use, in this order; annotations of others are left out. None: all,
            in the order of their ids.
        invalid_boxes: what to do about boxes without area, outside of their picture or not finite:
            "error" or "skip". Boxes partly outside are clipped in either case.
        check_images: whether every picture must exist now; otherwise a missing one is an error
            when it is read.
    """

    def __init__(
        self,
        json_file: str | Path,
        image_root: str | Path | None = None,
        classes: list[str] | None = None,
        invalid_boxes: str = "error",
        check_images: bool = True,
    ) -> None:
        path = Path(json_file)
        content = read_coco_json(path)
        categories = checked_categories(path, content)
        images = checked_images(path, content)
        names = [image["file_name"] for image in images.values()]
        root = _image_root(path, names, image_root, check_images)
        if check_images:
            check_pictures_exist(path, root, names)

        selected = _select_classes(path, categories, classes)
        policy = BoxPolicy(path, invalid_boxes)
        records = {
            image_id: {
                "file_name": str(root / image["file_name"]),
                "height": image["height"],
                "width": image["width"],
                "image_id": image_id,
                "annotations": [],
            }
            for image_id, image in images.items()
        }
        contiguous = {category_id: k for k, category_id in enumerate(selected)}
        for image_id, annotation in _admitted(
            path, content, images, categories, contiguous, policy
        ):
            records[image_id]["annotations"].append(annotation)
        policy.log()
        super().__init__(
            list(records.values()),
            list(selected.values()),
            category_ids=list(selected),
            source=path,
            json_file=path,
            image_root=root,
        )


def _admitted(
    path: Path,
    content: dict,
    images: dict[int, dict],
    categories: dict[int, str],
    contiguous: dict[int, int],
    policy: BoxPolicy,
) -> Iterable[tuple[int, dict]]:
    """Pairs of image id and checked annotation, of the selected classes."""
    seen: set[int] = set()
    larger_than_box = 0
    for position, entry in enumerate(content["annotations"], start=1):
        annotation_id = entry.get("id", position)
        what = f"annotation {annotation_id}"
        if annotation_id in seen:
            raise ValueError(f"{path}: {what} occurs twice; ids must be unique")
        seen.add(annotation_id)
        image_id, category_id = entry.get("image_id"), entry.get("category_id")
        if image_id not in images:
            raise ValueError(f"{path}: {what} has image_id {image_id!r}, which is not in 'images'")
        if category_id not in categories:
            raise ValueError(
                f"{path}: {what} has category_id {category_id!r}, which is not in 'categories' "
                f"({_shortened(map(str, categories))})"
            )
        if category_id not in contiguous:
            continue
        bbox = policy.admit(entry.get("bbox"), images[image_id], what)
        if bbox is None:
            continue
        annotation = make_annotation(
            annotation_id,
            contiguous[category_id],
            bbox,
            area=entry.get("area"),
            iscrowd=int(entry.get("iscrowd", 0)),
        )
        if bbox is not entry["bbox"]:
            annotation["unclipped_bbox"] = entry["bbox"]
        # A pixel a side of slack: some tools count both border pixels.
        larger_than_box += annotation["area"] > (entry["bbox"][2] + 1) * (entry["bbox"][3] + 1)
        yield image_id, annotation
    if larger_than_box:
        _logger.warning(
            "%s: 'area' of %d annotations is larger than their box: do not size objects by it",
            path,
            larger_than_box,
        )


def _select_classes(
    path: Path, categories: dict[int, str], classes: list[str] | None
) -> dict[int, str]:
    """Category id -> name of the classes to use, in the order of ``classes``."""
    if classes is None:
        return categories
    id_of = {name: category_id for category_id, name in categories.items()}
    for name in classes:
        if name not in id_of:
            near = difflib.get_close_matches(name, id_of, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it has {_shortened(id_of)}"
            raise ValueError(f"{path}: has no class '{name}'; {hint}")
    if len(set(classes)) < len(classes):
        raise ValueError(f"{path}: classes={list(classes)} names a class twice")
    return {id_of[name]: name for name in classes}


def _shortened(names: Iterable[str], limit: int = 10) -> str:
    names = list(names)
    return ", ".join(names[:limit]) + (f", ... ({len(names)})" if len(names) > limit else "")


def _image_root(path: Path, names: list[str], given: str | Path | None, check_images: bool) -> Path:
    """The folder of the pictures: the given one, or the first beside the json that has them."""
    if given is not None:
        root = Path(given)
        if check_images and not root.is_dir():
            raise FileNotFoundError(f"{root}: no such folder of pictures (image_root of {path})")
        return root
    folder = path.parent
    stems = [path.stem, path.stem.removeprefix("instances_")]  # COCO: instances_val2017.json
    candidates = [folder, folder / "images", folder.parent, folder.parent / "images"]
    candidates += [place / stem for place in candidates for stem in stems]
    for root in candidates:
        if names and (root / names[0]).is_file():
            return root
    if check_images and names:
        tried = ", ".join(dict.fromkeys(str(root) for root in candidates))
        raise FileNotFoundError(
            f"{path}: its pictures (such as {names[0]}) were not found; set image_root (looked in "
            f"{tried})"
        )
    return folder


def check_pictures_exist(source: Path, root: Path, names: list[str]) -> None:
    """Refuse a data set that lacks pictures; folders are listed once, which is fast for many."""
    listed: dict[Path, set[str]] = {}
    missing = []
    for name in names:
        path = root / name
        if path.parent not in listed:
            listed[path.parent] = set(os.listdir(path.parent)) if path.parent.is_dir() else set()
        if path.name not in listed[path.parent]:
            missing.append(name)
    if missing:
        more = f" and {len(missing) - _SHOWN_NAMES} more" if len(missing) > _SHOWN_NAMES else ""
        raise FileNotFoundError(
            f"{source}: {len(missing)} of {len(names)} pictures are not in {root}: "
            f"{', '.join(missing[:_SHOWN_NAMES])}{more}; set image_root or complete the folder"
        )
