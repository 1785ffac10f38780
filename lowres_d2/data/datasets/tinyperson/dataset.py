"""TinyPerson's files as a data set.

Yu et al., "Scale Match for Tiny Person Detection" (WACV 2020); files are documented in
``dataset/TinyPerson_annotation.md`` of github.com/ucas-vg/PointTinyBenchmark. They are COCO json
files whose annotations have flags (``flags.py``); those in ``corner`` folders have tiles
(``corners.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowres_d2.data.datasets.base import BoxDataset, make_annotation
from lowres_d2.data.datasets.boxes import BoxPolicy
from lowres_d2.data.datasets.categories import checked_categories
from lowres_d2.data.datasets.coco_json import checked_annotations, checked_images, read_coco_json
from lowres_d2.data.datasets.image_folder import checked_image_root
from lowres_d2.data.datasets.tinyperson.corners import checked_corners
from lowres_d2.data.datasets.tinyperson.flags import DENSE, FLAGS, TASKS, check_flags, flags_of

_DENSE = ("leave_out", "ignore", "object")
_logger = logging.getLogger(__name__)


class TinyPersonDataset(BoxDataset):
    """Detectron2 dataset dicts of TinyPerson, checked.

    Images of a corner file are tiles: their dicts have ``corner``, (x0, y0, x1, y1) in pixels of
    ``file_name``, and ``DetectionMapper`` cuts them out.

    Args:
        json_file: one of the data set's files: of whole images or of tiles, with both classes or
            for a task.
        image_root: folder that ``file_name`` is relative to. None: searched for beside the file, as
            ``CocoDataset`` does.
        task: "all": every person is of the class person, as in the benchmark; "sea" or "earth":
            those of the other class are ignore regions; "both": two classes.
        ignored: flags that make a box an ignore region. The benchmark's evaluator knows "ignore"
            and "uncertain"; its training images have no content where there is a "logo" either.
        dense: what images with more than 200 boxes are for: "leave_out", as in the benchmark;
            "ignore": their boxes are ignore regions; "object": used like others.
        invalid_boxes: "error" or "skip", as in ``CocoDataset``.
        check_images: whether every image must exist now.

    Attributes:
        num_dense: number of images left out because they are dense.
    """

    def __init__(
        self,
        json_file: str | Path,
        image_root: str | Path | None = None,
        task: str = "all",
        ignored: Sequence[str] = FLAGS,
        dense: str = "leave_out",
        invalid_boxes: str = "error",
        check_images: bool = True,
    ) -> None:
        for name, value, known in (("task", task, TASKS), ("dense", dense, _DENSE)):
            if value not in known:
                raise ValueError(f"{name}={value!r}: expected one of {', '.join(known)}")
        flags = check_flags(ignored) | ({DENSE} if dense == "ignore" else set())
        path = Path(json_file)
        content = read_coco_json(path)
        categories = checked_categories(path, content)
        classes = TASKS[task]
        _check_classes(path, categories, task)
        images = checked_images(path, content)
        corners = checked_corners(path, images)
        root = checked_image_root(
            path,
            # Tiles share files.
            list(dict.fromkeys(image["file_name"] for image in images.values())),
            image_root,
            check_images,
        )
        records = _without_objects(images, root, corners)
        label_of = {name: k for k, names in enumerate(classes.values()) for name in names}
        policy = BoxPolicy(path, invalid_boxes)
        dense_images = set()
        for entry in checked_annotations(path, content, images, categories):
            found = flags_of(path, entry)
            if DENSE in found:
                dense_images.add(entry["image_id"])
            what = f"annotation {entry['id']}"
            bbox = policy.admit(entry.get("bbox"), images[entry["image_id"]], what)
            if bbox is None:
                continue
            name = categories[entry["category_id"]]
            crowd = bool(entry.get("iscrowd", 0) or found & flags or name not in label_of)
            annotation = make_annotation(
                entry["id"], label_of.get(name, 0), bbox, iscrowd=int(crowd)
            )
            if bbox is not entry["bbox"]:
                annotation["unclipped_bbox"] = entry["bbox"]
            records[entry["image_id"]]["annotations"].append(annotation)
        policy.close()
        left_out = dense_images if dense == "leave_out" else set()
        self.num_dense = len(left_out)
        if left_out:
            _logger.info("%s: %d dense images left out", path, len(left_out))
        super().__init__(
            [record for image_id, record in records.items() if image_id not in left_out],
            list(classes),
            # The file's ids, except that a person of the merged class is 1, as in files of tasks.
            category_ids=_ids(categories, list(classes)),
            source=path,
            json_file=path,
            image_root=root,
            info=content.get("info"),
        )


def _without_objects(
    images: Mapping[int, Mapping], root: Path, corners: Mapping[int, tuple]
) -> dict[int, dict[str, Any]]:
    """Dataset dicts of images, or of tiles where there are corners, by their ids."""
    return {
        image_id: {
            "file_name": str(root / image["file_name"]),
            "height": image["height"],
            "width": image["width"],
            "image_id": image_id,
            "annotations": [],
        }
        | ({"corner": corners[image_id]} if corners else {})
        for image_id, image in images.items()
    }


def _check_classes(path: Path, categories: dict[int, str], task: str) -> None:
    """Raise an error unless the file has classes that make up the task's."""
    known = {"person", *(name for names in TASKS["both"].values() for name in names)}
    strange = [name for name in categories.values() if name not in known]
    if strange:
        raise ValueError(
            f"{path}: has class '{strange[0]}'; expected TinyPerson's: {', '.join(sorted(known))}"
        )
    for name, parts in TASKS[task].items():
        if not any(part in categories.values() for part in parts):
            raise ValueError(
                f"{path}: has no class '{name}', which task={task!r} is about; it has "
                f"{', '.join(categories.values()) or 'none'}"
            )


def _ids(categories: dict[int, str], classes: list[str]) -> list[int]:
    id_of = {name: number for number, name in categories.items()}
    return [id_of.get(name, 1) for name in classes]
