"""Dataset mapper of classification: reads an image file, and gives it the size of the model."""

from __future__ import annotations

from collections.abc import Sequence

from lowres_d2.data.classification.crops import RandomResizedCrop, ResizedCenterCrop
from lowres_d2.data.image import MAX_PIXELS
from lowres_d2.data.mapper import DetectionMapper

from detectron2.data import transforms as T


class ClassificationMapper(DetectionMapper):
    """From a dataset dict with a label to a classifier's input, all of one size.

    In training a random part of the image is resized (:class:`RandomResizedCrop`) and mirrored half
    of the time; in evaluation its middle is taken (:class:`ResizedCenterCrop`).

    Args:
        is_train: which of the two.
        size: height and width of the result.
        resize: in evaluation, length that the shorter side is resized to; None: 8/7 of ``size``.
        scale: in training, smallest and largest share of the image's area.
        ratio: in training, smallest and largest width / height of that part.
        flip: in training, mirror half of the images left to right; not for classes that this
            changes.
        augmentations: Detectron2 augmentations that follow.
        image_format: as are the rest, see :class:`DetectionMapper`.
    """

    def __init__(
        self,
        is_train: bool,
        size: int = 224,
        resize: int | None = None,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        flip: bool = True,
        augmentations: Sequence[T.Augmentation | T.Transform] = (),
        image_format: str | None = "RGB",
        on_broken: str = "error",
        value_range: Sequence[float] | None = None,
        max_pixels: int | None = MAX_PIXELS,
        exif: str = "apply",
        channels: int | None = None,
    ) -> None:
        if is_train:
            first = [RandomResizedCrop(size, scale, ratio), *([T.RandomFlip()] if flip else [])]
        else:
            first = [ResizedCenterCrop(size, round(size * 8 / 7) if resize is None else resize)]
        super().__init__(
            is_train,
            [*first, *augmentations],
            image_format,
            on_broken,
            value_range=value_range,
            max_pixels=max_pixels,
            exif=exif,
            channels=channels,
        )
