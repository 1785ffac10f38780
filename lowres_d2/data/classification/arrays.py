"""Classification images that are held in memory as one tensor, all of one size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.classification.labelled import LabelledImages

import torch
from jaxtyping import UInt8
from torch import Tensor


class ImageArrays(LabelledImages):
    """Images of one size, in memory.

    An item has ``image`` (uint8 (3, H, W), RGB; a view), ``height``, ``width``, ``image_id`` and
    ``label``, and ``file_name`` where the images come from files of their own.

    Args:
        images: all images, RGB.
        labels: class of each image.
        classes: class names; position k names label k.
        source: file or folder of the data set, which messages name.
        file_names: file of each image; None: they have none.

    Raises:
        ValueError: these do not fit together.
    """

    def __init__(
        self,
        images: UInt8[Tensor, "N 3 H W"],
        labels: Sequence[int],
        classes: Sequence[str],
        source: str | Path,
        file_names: Sequence[str] | None = None,
    ) -> None:
        shape, dtype = tuple(images.shape), images.dtype
        if dtype != torch.uint8 or len(shape) != 4 or shape[1] != 3 or 0 in shape[2:]:
            raise ValueError(
                f"{source}: images of shape {shape} and type {dtype}: expected uint8 of shape "
                "(N, 3, height, width)"
            )
        for name, values in {"labels": labels, "file names": file_names}.items():
            if values is not None and len(values) != shape[0]:
                raise ValueError(f"{source}: has {shape[0]} images, but {len(values)} {name}")
        super().__init__(labels, classes, source)
        self.images = images.contiguous()
        self.file_names = None if file_names is None else list(file_names)

    def __getitem__(self, index: int) -> dict:
        item = super().__getitem__(index)
        height, width = self.images.shape[-2:]
        item |= {"image": self.images[index], "height": height, "width": width}
        if self.file_names is not None:
            item["file_name"] = self.file_names[index]
        return item
