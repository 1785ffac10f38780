"""A few images, evenly spread over a data set, as a data set of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def even_indices(total: int, number: int) -> list[int]:
    """Indices of at most ``number`` out of ``total`` images, evenly spread."""
    number = min(number, total)
    return [k * total // number for k in range(number)]


class EvenSample(Sequence):
    """Images with objects, evenly spread over a data set; the same ones every time.

    Other attributes, such as ``classes``, are those of the data set.

    Args:
        dataset: dataset dicts.
        number: number of images; all images with objects if there are fewer. Of a test set
            without labels, any images.
    """

    def __init__(self, dataset: Sequence[dict], number: int) -> None:
        self._dataset = dataset
        step = max(1, len(dataset) // number)
        records: dict[int, dict] = {}
        # Every step-th image first; where some had no objects, those after them, and so on.
        for index in (i for first in range(step) for i in range(first, len(dataset), step)):
            if len(records) == number:
                break
            record = dataset[index]
            if any(not a.get("iscrowd", 0) for a in record.get("annotations", [{}])):
                records[index] = record
        if not records:
            records = {index: dataset[index] for index in range(0, len(dataset), step)[:number]}
        self._records = [records[index] for index in sorted(records)]

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict:
        return dict(self._records[index])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copying asks for these before `_dataset` is set
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def coco_dict(self) -> dict:
        """The ground truth of these images in COCO format."""
        whole = self._dataset.coco_dict()
        chosen = {record["image_id"] for record in self._records}
        images = [image for image in whole["images"] if image["id"] in chosen]
        annotations = [a for a in whole["annotations"] if a["image_id"] in chosen]
        return whole | {"images": images, "annotations": annotations}
