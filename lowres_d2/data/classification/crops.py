"""Augmentations that give every image one size, as classifiers of photographs take them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from detectron2.data import transforms as T

_ATTEMPTS = 10
_LONGEST = 4  # sides of the square in the middle


class ResizedCenterCrop(T.Augmentation):
    """Resize the shorter side to ``resize`` pixels, and cut ``size`` x ``size`` from the middle.

    Draws no random numbers.

    Args:
        size: height and width of the result.
        resize: length of the shorter side, at least ``size``; None: ``size``.

    Raises:
        ValueError: a size is not valid.
    """

    def __init__(self, size: int, resize: int | None = None) -> None:
        super().__init__()
        self.size, self.resize = _checked("size", size), size if resize is None else resize
        if _checked("resize", self.resize) < size:
            raise ValueError(f"resize={resize}: expected at least size, {size}")

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """The transform for an image."""
        whole, shorter = image.shape[:2], min(image.shape[:2])
        scale = self.resize / shorter
        # Only the middle of an elongated image: 50,000 pixels in a row may not fit into memory once
        # they are resized.
        height, width = (min(side, _LONGEST * shorter) for side in whole)
        y, x = (whole[0] - height) // 2, (whole[1] - width) // 2
        new_height, new_width = (max(self.size, round(side * scale)) for side in (height, width))
        top, left = (new_height - self.size) // 2, (new_width - self.size) // 2
        return T.TransformList(
            [
                T.CropTransform(x, y, width, height, whole[1], whole[0]),
                T.ResizeTransform(height, width, new_height, new_width),
                T.CropTransform(left, top, self.size, self.size, new_width, new_height),
            ]
        )


class RandomResizedCrop(T.Augmentation):
    """Cut out a random part of random area and aspect, and resize it to ``size`` x ``size``.

    The crop of Szegedy et al., "Going deeper with convolutions", 2015.

    Args:
        size: height and width of the result.
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest width / height; log-uniform.

    Raises:
        ValueError: a range is not valid.
    """

    def __init__(
        self,
        size: int,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
    ) -> None:
        super().__init__()
        for key, ends in {"scale": scale, "ratio": ratio}.items():
            if len(ends) != 2 or not 0 < ends[0] <= ends[1] or (key == "scale" and ends[1] > 1):
                most = " at most 1" if key == "scale" else ""
                raise ValueError(
                    f"{key}={[*ends]}: expected the smallest and the largest value, over 0{most}"
                )
        self.size, self.scale, self.ratio = _checked("size", size), tuple(scale), tuple(ratio)

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Draw a part, and return the transform for an image."""
        height, width = image.shape[:2]
        left, top, crop_width, crop_height = self._part(height, width)
        return T.TransformList(
            [
                T.CropTransform(left, top, crop_width, crop_height, width, height),
                T.ResizeTransform(crop_height, crop_width, self.size, self.size),
            ]
        )

    def _part(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Left, top, width and height of the part."""
        # Augmentations draw from numpy's global generator, which the loader seeds for each image.
        draw = np.random.uniform
        for _ in range(_ATTEMPTS):
            area = draw(*self.scale) * height * width
            ratio = math.exp(draw(*map(math.log, self.ratio)))
            part_width, part_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < part_width <= width and 0 < part_height <= height:
                left = int(draw(0, width - part_width + 1))
                top = int(draw(0, height - part_height + 1))
                return left, top, part_width, part_height
        # The image is too elongated: the largest part from its middle that has an allowed ratio.
        part_width = max(1, min(width, int(height * self.ratio[1])))
        part_height = max(1, min(height, int(width / self.ratio[0])))
        return (width - part_width) // 2, (height - part_height) // 2, part_width, part_height


def _checked(key: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{key}={value!r}: expected a whole number of pixels, 1 or more")
    return value
