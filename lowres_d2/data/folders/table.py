"""Objects of many images in few bytes, and the dataset dicts that are made of them.

Boxes are XYWH in pixels of the stored image. M objects are one after the other, image by image.
"""

from __future__ import annotations

from collections.abc import Sequence

from lowres_d2.data.datasets.base import make_annotation

import numpy as np


class ObjectTable(Sequence):
    """Images with their objects, under 90 bytes an object; an item is a new dataset dict.

    Images are numbered from 1, and objects over all images, too; those that are left out keep their
    numbers. ``bbox`` is clipped to its image, see ``BoxDataset`` for what was beyond.

    Args:
        names: files of the images.
        sizes: height and width of each image.
        counts: number of objects of each image.
        categories: (M,) contiguous category of each object; negative: it is left out.
        boxes: (M, 4).
        crowds: (M,) whether it is an ignore region; None: none is.
    """

    def __init__(
        self,
        names: list[str],
        sizes: np.ndarray,
        counts: np.ndarray,
        categories: np.ndarray,
        boxes: np.ndarray,
        crowds: np.ndarray | None = None,
    ) -> None:
        self._names = names
        self._sizes = np.asarray(sizes, np.int32).reshape(-1, 2)
        kept = np.asarray(categories) >= 0
        owner = np.repeat(np.arange(len(names)), counts)[kept]
        self._ends = np.zeros(len(names) + 1, np.int64)
        np.cumsum(np.bincount(owner, minlength=len(names)), out=self._ends[1:])
        self._categories = np.asarray(categories, np.int32)[kept]
        self._ids = np.flatnonzero(kept) + 1
        self._crowds = np.zeros(len(owner), bool) if crowds is None else crowds[kept]
        self._given = boxes[kept]
        high = self._sizes[owner][:, ::-1]
        corners = np.stack([self._given[:, :2], self._given[:, :2] + self._given[:, 2:]])
        inside = (corners[0] >= 0).all(1) & (corners[1] <= high).all(1)
        low = np.maximum(corners[0], 0)
        clipped = np.concatenate([low, np.minimum(corners[1], high) - low], 1)
        # Those inside keep their numbers, which subtraction could round.
        self._boxes = np.where(inside[:, None], self._given, clipped)
        self._beyond = ~inside
        #: For each object, how many pixels it reaches beyond its image; negative: it is inside.
        self.reach = np.maximum(-corners[0], corners[1] - high).max(1, initial=-np.inf)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = slice(int(self._ends[index]), int(self._ends[index + 1]))
        height, width = self._sizes[index].tolist()
        annotations = [
            make_annotation(number, category, bbox, iscrowd=int(crowd))
            for number, category, bbox, crowd in zip(
                self._ids[part].tolist(),
                self._categories[part].tolist(),
                self._boxes[part].tolist(),
                self._crowds[part].tolist(),
                strict=True,
            )
        ]
        for k in np.flatnonzero(self._beyond[part]).tolist():
            annotations[k]["unclipped_bbox"] = self._given[part.start + k].tolist()
        return {
            "file_name": self._names[index],
            "height": height,
            "width": width,
            "image_id": index + 1,
            "annotations": annotations,
        }


def invalid_boxes_of(sizes: np.ndarray, counts: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Numbers of the boxes that have no area, or lie outside their image; all are finite.

    Args:
        sizes: height and width of each image.
        counts: number of objects of each image.
        boxes: (M, 4).
    """
    high = np.repeat(np.asarray(sizes).reshape(-1, 2)[:, ::-1], counts, axis=0)
    low, sides = boxes[:, :2], boxes[:, 2:]
    sound = (sides > 0) & (low < high) & (low + sides > 0)
    return np.flatnonzero(~sound.all(1))
