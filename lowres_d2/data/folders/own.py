"""The data set of a recipe for own data: a folder, or two COCO json files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.datasets.base import BoxDataset, NoDataGivenError
from lowres_d2.data.datasets.categories import count_classes
from lowres_d2.data.datasets.coco import CocoDataset
from lowres_d2.data.folders.layout import ALL, FolderData, ReadRules
from lowres_d2.data.folders.recognition import recognise
from lowres_d2.natural_order import natural_order

_logger = logging.getLogger(__name__)
_NO_DATA = (
    "data: no data set is given: data.path=FOLDER, or data.train_json=FILE data.val_json=FILE"
)


def own_dataset(
    path: str | Path | None = None,
    split: str | None = None,
    *,
    evaluated: bool = False,
    format: str | None = None,
    held_out: float | None = None,
    json_file: str | Path | None = None,
    image_root: str | Path | None = None,
    classes: list[str] | None = None,
    invalid_boxes: str = "error",
    may_lack_classes: bool = False,
    cache: str | None = None,
) -> BoxDataset:
    """A split of the data set in a folder, or of a COCO json file.

    Args:
        path: folder of a data set in COCO's, YOLO's or VOC's form, see
            :func:`lowres_d2.data.folders.recognise`.
        split: name of the split; None: the one to train on, or to evaluate on.
        evaluated: whether it is to evaluate on: ``val``, or ``test`` where there is no ``val``.
        format: "coco", "yolo" or "voc", where the folder has several; None: the only one.
        held_out: share of the images to evaluate on, of a folder that says of none what it is for.
            They are the last ones by their names, since successive images of a camera are alike.
        json_file: a COCO json file, in place of ``path``.
        image_root: as in ``CocoDataset``, for ``json_file``.
        classes: as in ``CocoDataset``.
        invalid_boxes: as in ``CocoDataset``.
        may_lack_classes: as in ``CocoDataset``.
        cache: folder for sizes of images, where no file has them; None: they are read every time.

    Raises:
        NoDataGivenError: neither ``path`` nor ``json_file`` is given.
        ValueError: both are given, or the folder is ambiguous or has no such split.
        FileNotFoundError: there is no such folder or file, or no data set in it.
    """
    if _by_json(path, json_file):
        return CocoDataset(json_file, image_root, classes, invalid_boxes, True, may_lack_classes)
    folder = recognise(path, format)
    name = chosen_split(folder, split, evaluated, held_out)
    dataset = folder.dataset(name, ReadRules(classes, invalid_boxes, may_lack_classes, cache))
    part = ""
    if held_out is not None:
        dataset = _part(dataset, held_out, evaluated)
        part = f", {'the last' if evaluated else 'all but the last'} {held_out:g} of the images"
    _logger.info(
        "%s: split %s%s: %d images, %d objects, %d classes; %s",
        folder,
        name,
        part,
        len(dataset),
        dataset.num_objects,
        len(dataset.classes),
        folder.described(),
    )
    return dataset


def count_own_classes(
    path: str | Path | None = None,
    split: str | None = None,
    format: str | None = None,
    json_file: str | Path | None = None,
    classes: Sequence[str] | None = None,
    held_out: float | None = None,
) -> int:
    """Number of classes of :func:`own_dataset`, for ``num_classes`` of a recipe."""
    if _by_json(path, json_file):
        return count_classes(json_file, classes)
    folder = recognise(path, format)
    name = chosen_split(folder, split, False, held_out)
    number = len(folder.class_names(name, None if classes is None else list(classes)))
    if not number:
        raise ValueError(f"{folder}: has no classes; expected those to train")
    return number


def _by_json(path: str | Path | None, json_file: str | Path | None) -> bool:
    if path is not None and json_file is not None:
        raise ValueError(
            f"data.path={path} and {json_file} are both given; set data.path or the json files to "
            "null"
        )
    if path is None and json_file is None:
        raise NoDataGivenError(_NO_DATA)
    return path is None


def chosen_split(
    folder: FolderData, split: str | None, evaluated: bool, held_out: float | None
) -> str:
    """The split that is meant.

    Args:
        folder: the data set.
        split: its name, if it is given.
        evaluated: whether it is to evaluate on.
        held_out: share of the images to evaluate on; None: another split is.

    Raises:
        ValueError: there is none.
        FileNotFoundError: the data set names it, but it is not there.
    """
    known = folder.splits
    if held_out is not None:
        if not 0 < held_out < 1:
            raise ValueError(f"data.held_out={held_out:g}: expected a share, over 0 and under 1")
        if len(known) > 1 or folder.missing:
            raise ValueError(
                f"{folder}: has {', '.join([*known, *folder.missing])}; data.held_out is for a "
                "folder with one split"
            )
        return next(iter(known))
    key = "data.val_split" if evaluated else "data.train_split"
    wanted = [split] if split else ["val", "test"] if evaluated else ["train", "trainval"]
    for name in wanted:
        if name in known:
            return name
        if name in folder.missing:
            raise FileNotFoundError(folder.missing[name])
    what = f"no split '{split}'" if split else f"no split to {'evaluate' if evaluated else 'train'}"
    remedy = f"{key}=NAME names one"
    if len(known) == 1 and (ALL in known or evaluated):
        remedy = (
            "data.held_out=0.2 takes the last fifth of its images, by their names, to evaluate on"
        )
    raise ValueError(f"{folder}: {what}; it has {', '.join(known)}: {remedy}")


def _part(dataset: BoxDataset, held_out: float, evaluated: bool) -> BoxDataset:
    """The last images of a data set by their names and the numbers in these, or all others."""
    order = sorted(range(len(dataset)), key=lambda k: natural_order(dataset[k]["file_name"]))
    first = len(order) - round(held_out * len(order))
    if not 0 < first < len(order):
        raise ValueError(
            f"{dataset.source}: {len(order)} images give no two parts with data.held_out="
            f"{held_out:g}"
        )
    chosen = order[first:] if evaluated else order[:first]
    return BoxDataset(
        [dataset[k] for k in chosen],
        dataset.classes,
        source=dataset.source,
        category_ids=dataset.category_ids,
        json_file=dataset.json_file,
        image_root=dataset.image_root,
        lacking=dataset.lacking,
        info=dataset.info,
    )
