"""A detection data set: a sequence of Detectron2's dataset dicts that knows its classes.

Boxes of the dicts are XYWH_ABS in pixels of the stored image, clipped to it. ``category_id`` is
contiguous from 0 in the dicts; ``coco_dict`` has the ids of the data set's file.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

from lowres_d2.data.datasets.json_values import shortened
from lowres_d2.data.datasets.pseudo_labels import labelled_by

from detectron2.data import DatasetFromList
from detectron2.structures import BoxMode

_SHOWN_DIFFERENCES = 10
_logger = logging.getLogger(__name__)


class NoDataGivenError(ValueError):
    """A recipe for own data is used without any; names the keys that give it."""


class BoxDataset(Sequence):
    """Images with boxes, each a Detectron2 dataset dict.

    A dict has ``file_name``, ``height``, ``width``, ``image_id`` and ``annotations``, each with
    ``bbox``, ``bbox_mode``, ``category_id``, ``iscrowd``, ``area`` and ``id``. Every access returns
    a fresh copy, unpickled from one buffer whose memory worker processes share.

    Args:
        records: dataset dicts, each of which is asked for once. An annotation may carry
            ``unclipped_bbox`` where ``bbox`` was clipped; an ignore region that is none of one
            class only, ``of_every_class`` True.
        classes: class names; position k names the contiguous category k.
        category_ids: ids of these classes in the data set's file; 1, 2, ... by default.
        source: file or folder of the data set, which messages name.
        json_file: the annotation file, if there is one.
        image_root: the folder that image names are relative to.
        lacking: those of the classes that the data set's file does not have, so that their ids are
            none of its own.
        info: what the data set's file says of itself, COCO's ``info``; None: nothing.

    Attributes:
        num_objects: number of annotations that are objects.
        num_crowds: number of crowds (``iscrowd`` 1, VOC's 'difficult'), which are not trained on
            and are ignored in evaluation.
        labelled_by: whose detections the annotations are, by ``info``; empty: they are ground
            truth.
    """

    def __init__(
        self,
        records: Sequence[dict],
        classes: list[str],
        *,
        source: str | Path,
        category_ids: list[int] | None = None,
        json_file: Path | None = None,
        image_root: Path | None = None,
        lacking: Sequence[str] = (),
        info: Mapping[str, Any] | None = None,
    ) -> None:
        if not records:
            raise ValueError(f"{source}: has no images; expected at least one")
        counted = _Counted(records)
        # As one buffer: reading Python objects changes their reference counts, and so makes every
        # forked worker copy their memory. Unpickling gives new objects, so that no copy is needed.
        self._records = DatasetFromList(counted, copy=False, serialize=True)
        self.num_objects, self.num_crowds = counted.numbers[False], counted.numbers[True]
        self.classes = list(classes)
        ids = range(1, len(classes) + 1) if category_ids is None else category_ids
        self.category_ids = list(ids)
        self.source = str(source)
        self.json_file = json_file
        self.image_root = image_root
        self.lacking = list(lacking)
        self.info = dict(info) if isinstance(info, Mapping) else {}
        self.labelled_by = labelled_by({"info": self.info})
        if self.num_crowds:
            _logger.log(
                logging.INFO if self.num_objects else logging.WARNING,
                "%s: %d of %d annotations are crowds (iscrowd 1, VOC's 'difficult'): not trained "
                "on, ignored in evaluation",
                source,
                self.num_crowds,
                counted.numbers.total(),
            )

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict:
        if not -len(self) <= index < len(self):
            # Iteration over a Sequence ends with this error.
            raise IndexError(f"{self.source}: image {index} of {len(self)}")
        return self._records[index % len(self)]

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}({self.source}: {len(self)} images, {len(self.classes)} classes)"

    def coco_dict(self) -> dict:
        """The ground truth in COCO format, with ids, unclipped boxes and ``info`` of its file."""
        images, annotations, repeated = [], [], []
        for record in self:
            image = {key: record[key] for key in ("file_name", "height", "width")}
            images.append(image | {"id": record["image_id"]})
            for annotation in record["annotations"]:
                everywhere = annotation.get("of_every_class", False)
                of_classes = (
                    self.category_ids
                    if everywhere
                    else [self.category_ids[annotation["category_id"]]]
                )
                entry = {
                    "id": annotation["id"],
                    "image_id": record["image_id"],
                    "category_id": of_classes[0],
                    # COCO's evaluation takes boxes as they are in the file.
                    "bbox": annotation.get("unclipped_bbox", annotation["bbox"]),
                    "area": annotation["area"],
                    "iscrowd": annotation["iscrowd"],
                }
                annotations.append(entry)
                repeated += [entry | {"category_id": k} for k in of_classes[1:]]
        # COCO's crowds are of one class each.
        free = count(max((a["id"] for a in annotations), default=0) + 1)
        annotations += [entry | {"id": next(free)} for entry in repeated]
        categories = [
            {"id": category_id, "name": name}
            for category_id, name in zip(self.category_ids, self.classes, strict=True)
        ]
        about = {"info": dict(self.info)} if self.info else {}
        return about | {"images": images, "annotations": annotations, "categories": categories}


class _Counted(Sequence):
    """Records that are counted as they are read, since reading may make them: once, in order."""

    def __init__(self, records: Sequence[dict]) -> None:
        self._records = records
        self.numbers: Counter[bool] = Counter()

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict:
        record = self._records[index]
        for annotation in record["annotations"]:
            self.numbers[bool(annotation["iscrowd"])] += 1
        return record


def make_annotation(
    annotation_id: int,
    category: int,
    bbox: Sequence[float],
    *,
    area: float | None = None,
    iscrowd: int = 0,
) -> dict:
    """One annotation of a dataset dict.

    Args:
        annotation_id: unique in the data set.
        category: contiguous category.
        bbox: (x, y, width, height) in pixels.
        area: area for evaluation, in square pixels; the box's by default.
        iscrowd: 1 for an ignore region.
    """
    return {
        "id": annotation_id,
        "bbox": list(bbox),
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": category,
        "area": bbox[2] * bbox[3] if area is None else area,
        "iscrowd": iscrowd,
    }


def class_names(classes: Sequence[str]) -> list[str]:
    """A user's class names as a list; an error if it is not a list of names."""
    if isinstance(classes, str):
        raise ValueError(f"classes={classes!r}: expected a list of class names, as [{classes}]")
    names = list(classes)
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"classes={names}: expected class names; put quotes around those that are numbers"
        )
    return names


def check_same_classes(train: BoxDataset, val: BoxDataset) -> None:
    """Raise an error unless category k is the same class in both data sets."""
    if train.classes == val.classes:
        return
    pairs = enumerate(zip_longest(train.classes, val.classes, fillvalue="-"))
    different = [f"{k}: {a} | {b}" for k, (a, b) in pairs if a != b]
    more = len(different) - _SHOWN_DIFFERENCES
    shown = ", ".join(different[:_SHOWN_DIFFERENCES]) + (f", {more} more" if more > 0 else "")
    raise ValueError(
        f"classes differ between {train.source} ({len(train.classes)}) and {val.source} "
        f"({len(val.classes)}): {shown}; give both the same list of classes (in recipes for your "
        "own data with data.classes=[...])"
    )


def with_classes(
    dataset: Sequence[dict], classes: Sequence[str], category_ids: Sequence[int] = ()
) -> Sequence[dict]:
    """A test set with the classes of the training set, of which it may lack some.

    Args:
        dataset: the test set.
        classes: class names of the training set, or of trained weights; none where it has none.
        category_ids: ids of ``classes`` in the training set's file, which those that the test set
            lacks get unless another class of it has that id; empty: not known.

    Returns:
        The same images with category k of ``classes``; ``dataset`` itself where it has exactly
        these classes, or where it has another one or another order, which is not decided here.
    """
    # Of its class: a sample of a data set passes on the data set's own methods.
    of_labels = getattr(type(dataset), "with_classes", None)
    if of_labels is not None:
        return of_labels(dataset, classes)
    if not isinstance(dataset, BoxDataset):
        return dataset
    classes = classes or dataset.classes
    kept = [name for name in classes if name in dataset.classes]
    lacking = [name for name in classes if name not in kept or name in dataset.lacking]
    if kept != dataset.classes or not lacking:
        return dataset
    own_id = dict(zip(dataset.classes, dataset.category_ids, strict=True))
    own_id = {name: own_id[name] for name in kept if name not in dataset.lacking}
    wanted = dict(zip(classes, category_ids, strict=False))
    free = count(max([*own_id.values(), *wanted.values()], default=0) + 1)
    new_id = {
        name: wanted[name] if name in wanted and wanted[name] not in own_id.values() else next(free)
        for name in lacking
    }
    new_label = [list(classes).index(name) for name in dataset.classes]
    records = [
        record
        | {
            "annotations": [
                a | {"category_id": new_label[a["category_id"]]} for a in record["annotations"]
            ]
        }
        for record in dataset
    ]
    added = [name for name in lacking if name not in kept]
    if added:
        _logger.warning(
            "%s: has no class %s: nothing can be evaluated for it",
            dataset.source,
            shortened(added),
        )
    _logger.info(
        "%s: detections of classes that it does not have get category_id: %s",
        dataset.source,
        shortened(
            f"{name} {number}{'' if number == wanted.get(name) else ' (made up)'}"
            for name, number in new_id.items()
        ),
    )
    return BoxDataset(
        records,
        list(classes),
        source=dataset.source,
        category_ids=[(own_id | new_id)[name] for name in classes],
        json_file=dataset.json_file,
        image_root=dataset.image_root,
        lacking=lacking,
        info=dataset.info,
    )


def log_left_out(source: str | Path, left_out: Counter[str], things: str = "objects") -> None:
    """Log how many objects of how many classes were left out, as ``classes`` asks for.

    Args:
        source: file or folder of the data set.
        left_out: number of objects of each class that is not used.
        things: what is counted.
    """
    if left_out:
        names = ", ".join(name for name, _ in left_out.most_common(_SHOWN_DIFFERENCES))
        _logger.info(
            "%s: %d %s of %d unused classes left out (%s)",
            source,
            left_out.total(),
            things,
            len(left_out),
            names + (", ..." if len(left_out) > _SHOWN_DIFFERENCES else ""),
        )


def dataset_fingerprint(dataset: Sequence[dict]) -> str:
    """Sixteen hex digits that change with any class, image, box or label, but not the folder.

    Images in memory count with their pixels, image files with their names.
    """
    digest = hashlib.blake2b(repr(dataset.classes).encode(), digest_size=8)
    for record in dataset:
        if "annotations" in record:
            # As floats: 10 and 10.0 are the same box.
            truth: Any = [
                (a["category_id"], a["iscrowd"], *map(float, a["bbox"]))
                for a in record["annotations"]
            ]
        else:
            truth = record["label"]
        if "image" in record:
            digest.update(record["image"].contiguous().numpy())
            image: Any = tuple(record["image"].shape)
        else:
            name = Path(record["file_name"]).name
            image = (name, record.get("height"), record.get("width"), *record.get("corner", ()))
        digest.update(repr((image, truth)).encode())
    return digest.hexdigest()
