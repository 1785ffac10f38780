"""VOC's xml files in any folder: with their own classes, and any names of files."""

from __future__ import annotations

import logging
import os
from array import array
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from lowres_d2.data.datasets.base import BoxDataset, log_left_out
from lowres_d2.data.datasets.boxes import box_fault
from lowres_d2.data.datasets.categories import select_classes
from lowres_d2.data.datasets.image_folder import check_images_exist
from lowres_d2.data.datasets.voc_files import (
    check_not_fractions,
    image_names,
    listed_stems,
    read_voc_xml,
)
from lowres_d2.data.folders.table import ObjectTable, invalid_boxes_of
from lowres_d2.data.image import ENDINGS

import numpy as np

_logger = logging.getLogger(__name__)
_TRIED = 100  # files, by which boxes that are fractions are told


class VocSource(NamedTuple):
    """Where a split is.

    Attributes:
        annotations: folder of the xml files.
        images: folder of their images.
        listed: a list in ``ImageSets/Main``; None: all xml files of the folder.
    """

    annotations: Path
    images: Path
    listed: Path | None = None

    @property
    def source(self) -> Path:
        """The list, or the folder, for messages."""
        return self.listed or self.annotations

    def files(self) -> list[str]:
        """The xml files, in the order of the list or of their names.

        Raises:
            ValueError: there are none.
        """
        if self.listed is None:
            names = sorted(name for name in os.listdir(self.annotations) if name.endswith(".xml"))
        else:
            names = [f"{stem}.xml" for stem in listed_stems(self.listed)]
        if not names:
            raise ValueError(f"{self.source}: has no images; expected at least one")
        return [os.path.join(self.annotations, name) for name in names]


class _Parsed(NamedTuple):
    """What the xml files of a split hold, in few bytes; boxes are XYWH in pixels."""

    files: Sequence[str]
    given: list[str]  # names of the images in the files
    sizes: array
    counts: array
    names: list[str]
    labels: array
    boxes: array
    difficult: bytearray


class VocFolderDataset(BoxDataset):
    """Detectron2 dataset dicts from VOC's xml files, checked.

    Objects marked 'difficult' become crowds, as in ``VocDataset``.

    Args:
        source: the split.
        classes: the classes to use, in this order; objects of others are left out. None: all that
            objects have, in alphabetical order.
        invalid_boxes: "error" or "skip", as in ``CocoDataset``.
        may_lack_classes: as in ``CocoDataset``.
    """

    def __init__(
        self,
        source: VocSource,
        classes: list[str] | None = None,
        invalid_boxes: str = "error",
        may_lack_classes: bool = False,
    ) -> None:
        parsed = _parse(source.files())
        selected = select_voc_classes(source, parsed.names, classes, may_lack_classes)
        names = list(selected.values())
        stems = [os.path.splitext(os.path.basename(file))[0] for file in parsed.files]
        found = image_names(source.images, dict(zip(stems, parsed.given, strict=True)))
        check_images_exist(source.source, source.images, [*found.values()], "complete the folder")
        _warn_of_unlabelled(source, found)
        number_of = {name: k for k, name in enumerate(names)}
        label_of = np.array([number_of.get(name, -1) for name in parsed.names], int)
        categories = label_of[np.array(parsed.labels, int)]
        sizes = np.array(parsed.sizes, np.int32).reshape(-1, 2)
        boxes = np.array(parsed.boxes).reshape(-1, 4)
        invalid = invalid_boxes_of(sizes, parsed.counts, boxes)
        invalid = invalid[categories[invalid] >= 0]
        if len(invalid):
            fault = _fault(parsed, int(invalid[0]))
            if invalid_boxes == "error":
                raise ValueError(f"{fault}; correct the file or set data.invalid_boxes=skip")
            _logger.warning(
                "%s: %d invalid boxes skipped, such as %s", source.source, len(invalid), fault
            )
        left_out = Counter(parsed.names[k] for k in parsed.labels if label_of[k] < 0)
        log_left_out(source.source, left_out)
        categories[invalid] = -1
        folder = str(source.images)
        table = ObjectTable(
            [os.path.join(folder, found[stem]) for stem in stems],
            sizes,
            parsed.counts,
            categories,
            boxes,
            np.frombuffer(parsed.difficult, bool),
        )
        far = int((table.reach > 1).sum())
        if far:
            _logger.warning(
                "%s: %d boxes reach beyond their images, by up to %g pixels: clipped for training, "
                "evaluated as they are (lowres-d2 validate names them)",
                source.source,
                far,
                table.reach.max(),
            )
        super().__init__(
            table,
            names,
            source=source.source,
            image_root=source.images,
            lacking=[name for name in names if name not in parsed.names],
        )


def _fault(parsed: _Parsed, k: int) -> str:
    """What is wrong with an object, by file and its number there."""
    ends = np.cumsum(parsed.counts)
    image = int(np.searchsorted(ends, k, side="right"))
    number = k - int(ends[image]) + parsed.counts[image] + 1
    box = parsed.boxes[4 * k : 4 * k + 4].tolist()
    height, width = parsed.sizes[2 * image : 2 * image + 2]
    return (
        f"{parsed.files[image]}: object {number} ({parsed.names[parsed.labels[k]]}): box "
        f"{box} {box_fault(box, height, width)}"
    )


def voc_class_names(source: VocSource, classes: list[str] | None) -> list[str]:
    """Names of a split's classes, in the order of their labels."""
    names = _parse(source.files()).names
    return list(select_voc_classes(source, names, classes, may_lack_classes=False).values())


def select_voc_classes(
    source: VocSource, names: Sequence[str], classes: list[str] | None, may_lack_classes: bool
) -> dict[int, str]:
    """The classes to use, which are those of the objects unless some are chosen."""
    known = dict(enumerate(sorted(names), start=1))
    return select_classes(source.source, known, classes, may_lack_classes)


def _parse(files: Sequence[str]) -> _Parsed:
    """The files' content; that of the last ones is kept until one of them changes.

    Classes are counted before images are read, which would parse all of them twice.
    """
    return _parse_once(tuple(files), tuple(map(_changed, files)))


def _changed(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:  # reading it says so
        return 0, 0
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1)
def _parse_once(paths: tuple[str, ...], changed: tuple[tuple[int, int], ...]) -> _Parsed:
    del changed  # only tells whether what is kept is still so
    number_of: dict[str, int] = {}
    sizes, counts, labels, boxes = array("i"), array("i"), array("i"), array("d")
    given, difficult, first = [], bytearray(), []
    for path in paths:
        image = read_voc_xml(path)
        given.append(image.file_name)
        sizes.extend((image.height, image.width))
        counts.append(len(image.objects))
        for found in image.objects:
            labels.append(number_of.setdefault(found.name, len(number_of)))
            boxes.extend(found.bbox)
            difficult.append(found.difficult)
        if len(first) < _TRIED:
            first.append(image)
    check_not_fractions(Path(paths[0]).parent, first)
    return _Parsed(paths, given, sizes, counts, [*number_of], labels, boxes, difficult)


def _warn_of_unlabelled(source: VocSource, found: dict[str, str]) -> None:
    """Say where images have no xml file, which in a list is on purpose."""
    if source.listed is not None:
        return
    used = {*found.values()}
    number = sum(
        name.lower().endswith(ENDINGS) and name not in used for name in os.listdir(source.images)
    )
    if number:
        _logger.warning(
            "%s: %d images have no xml file, and are not used; one without objects marks an image "
            "as empty",
            source.images,
            number,
        )
