"""Images with YOLO's label files as a data set."""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.datasets.base import BoxDataset, log_left_out
from lowres_d2.data.datasets.categories import select_classes
from lowres_d2.data.folders.table import ObjectTable
from lowres_d2.data.folders.yolo.images import YoloImage, split_images
from lowres_d2.data.folders.yolo.rows import YoloRows, in_pixels
from lowres_d2.data.folders.yolo.sizes import ImageSizes

import numpy as np

_logger = logging.getLogger(__name__)
_LEAST = 20  # boxes, from which on their form can be told
_SLACK = 0.01


class YoloDataset(BoxDataset):
    """Detectron2 dataset dicts from images and YOLO's label files, checked.

    An image without a label file, or with an empty one, has no objects. Fractions are those of the
    image as it is shown: turned as its EXIF says. Ids of the classes are their numbers.

    Args:
        places: folders of images, and text files that list images; the labels are in ``labels`` in
            place of ``images``, or beside the images.
        names: of the classes, by their numbers.
        root: folder of the data set, which messages name.
        keypoints: numbers of keypoints in each row, behind the box; they are not read.
        classes: the classes to use, in this order; objects of others are left out. None: all.
        invalid_boxes: "error" or "skip", as in ``CocoDataset``; a row that is none, or of an
            unknown class, is an error in any case.
        may_lack_classes: as in ``CocoDataset``.
        cache: folder for sizes of images; None: their headers are read every time.
    """

    def __init__(
        self,
        places: Sequence[str | Path],
        names: Sequence[str],
        root: str | Path,
        keypoints: int = 0,
        classes: list[str] | None = None,
        invalid_boxes: str = "error",
        may_lack_classes: bool = False,
        cache: str | Path | None = None,
    ) -> None:
        if invalid_boxes not in ("error", "skip"):
            raise ValueError(f"invalid_boxes={invalid_boxes!r}: expected 'error' or 'skip'")
        root = Path(root)
        selected = select_classes(root, dict(enumerate(names)), classes, may_lack_classes)
        contiguous = {number: k for k, number in enumerate(selected)}
        rows, known = YoloRows(names, keypoints), ImageSizes(root, cache)
        files: list[str] = []
        sizes, counts, labels, fractions = array("i"), array("i"), array("i"), array("d")
        invalid: list[str] = []
        images = split_images([Path(place) for place in places], root)
        for image in images:
            files.append(image.path)
            sizes.extend(known.of(image.path, image.stamp))
            boxes = rows.read(image.labels, invalid)
            if invalid and invalid_boxes == "error":
                raise ValueError(f"{invalid[0]}; correct the file or set data.invalid_boxes=skip")
            counts.append(len(boxes))
            for label, *box in boxes:
                labels.append(label)
                fractions.extend(box)
        known.keep()
        boxes = np.frombuffer(fractions).reshape(-1, 4) if fractions else np.zeros((0, 4))
        _check_form(root, boxes)
        of_images = np.array(sizes, np.int32).reshape(-1, 2)
        label_of = np.array([contiguous.get(k, -1) for k in range(len(names))])
        categories = label_of[np.array(labels, int)]
        pixels = in_pixels(boxes, np.repeat(of_images, counts, axis=0))
        table = ObjectTable(files, of_images, counts, categories, pixels)
        if invalid:
            _logger.warning(
                "%s: %d invalid boxes skipped, such as %s", root, len(invalid), invalid[0]
            )
        if known.num_rotated:
            _logger.warning(
                "%s: EXIF rotates %d images: their boxes are taken for those of the rotated image",
                root,
                known.num_rotated,
            )
        _log_unlabelled(root, images, counts.count(0))
        log_left_out(root, Counter(names[k] for k in labels if k not in contiguous))
        super().__init__(
            table,
            list(selected.values()),
            category_ids=list(selected),
            source=root,
            image_root=root,
            lacking=[name for name in selected.values() if name not in names],
        )


def _log_unlabelled(root: Path, images: Sequence[YoloImage], without: int) -> None:
    """Say how many images have no labels; that all have none is probably a fault."""
    if without == len(images):
        _logger.warning(
            "%s: none of the %d images has labels: those of %s would be in %s",
            root,
            without,
            images[0].path,
            images[0].labels,
        )
    elif without:
        _logger.info("%s: %d of %d images have no labels", root, without, len(images))


def _check_form(root: Path, boxes: np.ndarray) -> None:
    """Raise if a quarter of the boxes are beyond their images, and all fit them in another form."""
    if len(boxes) < _LEAST:
        return
    first, second = boxes[:, :2], boxes[:, 2:]
    high = 1 + _SLACK
    beyond = (np.minimum(first - second / 2, high - first - second / 2) < -_SLACK).any(1).sum()
    if beyond <= len(boxes) / 4:
        return
    for fits, form in (
        ((first < second).all(), "corners (x0, y0, x1, y1)"),
        ((first + second <= high).all(), "the upper left corner and the size"),
    ):
        if fits:
            raise ValueError(
                f"{root}: {beyond} of {len(boxes)} boxes reach beyond their images, and all of "
                f"them look like {form}; YOLO's are x and y of the centre, width, height"
            )
