"""Any COCO-format data set: a json file and a folder of images, nothing to register."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lowres_d2.data.datasets.base import BoxDataset, log_left_out, make_annotation
from lowres_d2.data.datasets.boxes import BoxPolicy
from lowres_d2.data.datasets.categories import (
    bare_supercategory,
    checked_categories,
    select_classes,
)
from lowres_d2.data.datasets.coco_json import (
    checked_annotations,
    checked_images,
    read_coco_json,
)
from lowres_d2.data.datasets.image_folder import checked_image_root

_logger = logging.getLogger(__name__)


class CocoDataset(BoxDataset):
    """Detectron2 dataset dicts from a COCO json file, checked.

    Attributes:
        ignored_classes: as the argument of that name.

    Args:
        json_file: COCO ground truth (``images``, ``annotations``, ``categories``).
        image_root: folder that ``file_name`` is relative to. None: searched for beside the json
            file: its folder and the parent folder, ``images`` in these, and a folder named after
            the json file (``val2017`` for ``instances_val2017.json``) in any of them.
        classes: the classes to use, in this order; annotations of others are left out. None: all,
            in the order of their ids, without Roboflow's bare supercategory.
        invalid_boxes: what to do with boxes that have no area, lie outside their image or are not
            finite: "error" or "skip". Boxes partly outside are clipped in either case.
        check_images: whether every image must exist now; otherwise a missing one is an error
            when it is read.
        may_lack_classes: whether the file may lack some of ``classes``, as a test set may.
        ignored_classes: classes of the file whose boxes are no objects, but ignore regions of every
            class, such as SeaDronesSee's "ignored".
    """

    def __init__(
        self,
        json_file: str | Path,
        image_root: str | Path | None = None,
        classes: list[str] | None = None,
        invalid_boxes: str = "error",
        check_images: bool = True,
        may_lack_classes: bool = False,
        ignored_classes: Sequence[str] = (),
    ) -> None:
        self.ignored_classes = list(ignored_classes)
        path = Path(json_file)
        content = read_coco_json(path)
        categories = checked_categories(path, content, [*(classes or ()), *ignored_classes])
        _log_left_out(path, bare_supercategory(content, classes))
        images = checked_images(path, content)
        names = [image["file_name"] for image in images.values()]
        root = checked_image_root(path, names, image_root, check_images)
        ignored = _ignored(path, categories, classes, ignored_classes, may_lack_classes)
        of_objects = {k: name for k, name in categories.items() if k not in ignored}
        selected = select_classes(path, of_objects, classes, may_lack_classes)
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
        used = {*contiguous, *ignored}
        annotations = checked_annotations(path, content, images, categories)
        wanted = (a for a in annotations if a["category_id"] in used)
        for entry, bbox in _admitted(path, wanted, images, policy):
            everywhere = entry["category_id"] in ignored
            annotation = make_annotation(
                entry["id"],
                contiguous.get(entry["category_id"], 0),
                bbox,
                # The mask's area in COCO's own files, which is not the box's.
                area=entry.get("area"),
                iscrowd=int(everywhere or entry.get("iscrowd", 0)),
            )
            if everywhere:
                annotation["of_every_class"] = True
            # The same list is returned where nothing had to be clipped.
            if bbox is not entry["bbox"]:
                annotation["unclipped_bbox"] = entry["bbox"]
            records[entry["image_id"]]["annotations"].append(annotation)
        policy.close()
        labels = (annotation["category_id"] for annotation in content["annotations"])
        log_left_out(path, Counter(categories[k] for k in labels if k not in used))
        super().__init__(
            list(records.values()),
            list(selected.values()),
            category_ids=list(selected),
            source=path,
            json_file=path,
            image_root=root,
            lacking=[name for name in selected.values() if name not in categories.values()],
            info=content.get("info"),
        )


def _ignored(
    path: Path,
    categories: dict[int, str],
    classes: Sequence[str] | None,
    ignored_classes: Sequence[str],
    may_lack_classes: bool,
) -> set[int]:
    """Ids of the classes that are ignore regions."""
    if not ignored_classes:
        return set()
    both = sorted({*(classes or ())} & {*ignored_classes})
    if both:
        raise ValueError(
            f"{path}: class '{both[0]}' is in classes and in ignored_classes; expected one of them"
        )
    if may_lack_classes:
        return {k for k, name in categories.items() if name in ignored_classes}
    return {*select_classes(path, categories, ignored_classes)}


def _log_left_out(path: Path, category: dict | None) -> None:
    if category is not None:
        _logger.warning(
            "%s: category 0 '%s' is left out: it has no objects and is the supercategory of all "
            "others (Roboflow's form); data.classes=[...] can ask for a class of that name",
            path,
            category["name"],
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
