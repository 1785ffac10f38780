"""Any COCO-format data set: a json file and a folder of images, nothing to register."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from lowres_d2.data.datasets.base import BoxDataset, make_annotation
from lowres_d2.data.datasets.coco_json import (
    BoxPolicy,
    checked_annotations,
    checked_categories,
    checked_images,
    read_coco_json,
    select_classes,
)

_logger = logging.getLogger(__name__)
_SHOWN_NAMES = 3
_TRIED_NAMES = 100  # enough to tell a folder that lacks some images from a wrong one


class CocoDataset(BoxDataset):
    """Detectron2 dataset dicts from a COCO json file, checked.

    Args:
        json_file: COCO ground truth (``images``, ``annotations``, ``categories``).
        image_root: folder that ``file_name`` is relative to. None: searched for beside the json
            file: its folder and the parent folder, ``images`` in these, and a folder named after
            the json file (``val2017`` for ``instances_val2017.json``) in any of them.
        classes: the classes to use, in this order; annotations of others are left out. None: all,
            in the order of their ids.
        invalid_boxes: what to do with boxes that have no area, lie outside their image or are not
            finite: "error" or "skip". Boxes partly outside are clipped in either case.
        check_images: whether every image must exist now; otherwise a missing one is an error
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
        root = find_image_root(path, names, image_root, check_images)
        if check_images:
            check_images_exist(path, root, names, "set image_root or complete the folder")

        selected = select_classes(path, categories, classes)
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
        annotations = checked_annotations(path, content, images, categories)
        wanted = (a for a in annotations if a["category_id"] in contiguous)
        for entry, bbox in _admitted(path, wanted, images, policy):
            annotation = make_annotation(
                entry["id"],
                contiguous[entry["category_id"]],
                bbox,
                # The mask's area in COCO's own files, which is not the box's.
                area=entry.get("area"),
                iscrowd=int(entry.get("iscrowd", 0)),
            )
            # The same list is returned where nothing had to be clipped.
            if bbox is not entry["bbox"]:
                annotation["unclipped_bbox"] = entry["bbox"]
            records[entry["image_id"]]["annotations"].append(annotation)
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
    path: Path, annotations: Iterable[dict], images: dict[int, dict], policy: BoxPolicy
) -> Iterable[tuple[dict, list[float]]]:
    """Yield the annotations with a valid box, and the box clipped to its image."""
    larger_than_box = 0
    for entry in annotations:
        bbox = policy.admit(
            entry.get("bbox"), images[entry["image_id"]], f"annotation {entry['id']}"
        )
        if bbox is None:
            continue
        # One pixel of slack in width and height: some tools count both border pixels.
        width, height = entry["bbox"][2:]
        larger_than_box += entry.get("area", 0) > (width + 1) * (height + 1)
        yield entry, bbox
    if larger_than_box:
        _logger.warning(
            "%s: 'area' of %d annotations is larger than their box: keep area=\"box\" in the "
            "evaluator, or object sizes are wrong",
            path,
            larger_than_box,
        )


def find_image_root(
    path: Path, names: list[str], given: str | Path | None, check_images: bool
) -> Path:
    """The folder of the images: the given one, or the first beside the json that has any."""
    if given is not None:
        return Path(given)
    folder = path.parent
    stems = [path.stem, path.stem.removeprefix("instances_")]  # COCO: instances_val2017.json
    candidates = [folder, folder / "images", folder.parent, folder.parent / "images"]
    candidates += [place / stem for place in candidates for stem in stems]
    for name in names[:_TRIED_NAMES]:
        for root in candidates:
            if is_file(root / name):
                return root
    if check_images and names:
        tried = ", ".join(dict.fromkeys(str(root) for root in candidates))
        raise FileNotFoundError(
            f"{path}: its {len(names)} images ({_first_few(names)}) were not found; set "
            f"image_root (looked in {tried})"
        )
    return folder


def is_file(path: Path) -> bool:
    """Whether a file exists; False also for names that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def check_images_exist(source: Path, root: Path, names: list[str], remedy: str) -> None:
    """Raise an error if images are missing; each folder is listed once, which is fast for many.

    Args:
        source: file or folder that lists the images, for messages.
        root: folder of the images.
        names: image files, relative to ``root``.
        remedy: what the user can do, for messages.
    """
    if names and not root.is_dir():
        raise FileNotFoundError(
            f"{root}: no such folder, for the {len(names)} images of {source} "
            f"({_first_few(names)}); {remedy}"
        )
    listed: dict[Path, set[str]] = {}
    missing = []
    for name in names:
        path = root / name
        if path.parent not in listed:
            listed[path.parent] = set(os.listdir(path.parent)) if path.parent.is_dir() else set()
        if path.name not in listed[path.parent]:
            missing.append(name)
    if missing:
        raise FileNotFoundError(
            f"{source}: {len(missing)} of {len(names)} images are not in {root}: "
            f"{_first_few(missing)}; {remedy}"
        )


def _first_few(names: list[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
