"""Augmentations that change the size of the whole image. Sizes are (height, width)."""

# ruff: noqa: NPY002 (Detectron2 draws from numpy's global generator; so must we)

from __future__ import annotations

import numpy as np
import torch
from fvcore.transforms.transform import NoOpTransform, Transform
from PIL import Image

from .augmentation import Augmentation
from .transform import ResizeTransform

__all__ = ["RandomResize", "Resize", "ResizeScale", "ResizeShortestEdge"]


class Resize(Augmentation):
    """Resize to one size.

    Args:
        shape: (height, width), or one number for both.
        interp: PIL filter.
    """

    def __init__(self, shape: tuple[int, int] | int, interp: int = Image.BILINEAR):
        shape = (shape, shape) if isinstance(shape, int) else tuple(shape)
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        return ResizeTransform(*image.shape[:2], *self.shape, self.interp)


class ResizeShortestEdge(Augmentation):
    """Bring the shorter side to a drawn length, unless the longer one then passes `max_size`.

    Args:
        short_edge_length: one length; or ("range") the smallest and largest length; or ("choice")
            the lengths to choose from. A drawn 0 leaves the image alone.
        max_size: greatest length of the longer side.
        sample_style: "range" or "choice".
        interp: PIL filter.
    """

    @torch.jit.unused  # scripting get_output_shape compiles the class
    def __init__(
        self,
        short_edge_length: int | tuple[int, ...],
        max_size: int = 2**63 - 1,
        sample_style: str = "range",
        interp: int = Image.BILINEAR,
    ):
        if sample_style not in ("range", "choice"):
            raise ValueError(f"sample_style must be 'range' or 'choice', got {sample_style!r}")
        is_range = sample_style == "range"
        if isinstance(short_edge_length, int):
            short_edge_length = (short_edge_length, short_edge_length)
        if is_range and len(short_edge_length) != 2:
            raise ValueError(
                f"short_edge_length of style 'range' must be two numbers, got {short_edge_length!r}"
            )
        self._init(locals())

    @torch.jit.unused
    def get_transform(self, image):  # TorchScript would compile the annotated classes
        if self.is_range:
            low, high = self.short_edge_length
            length = np.random.randint(low, high + 1)
        else:
            length = np.random.choice(self.short_edge_length)
        if length == 0:
            return NoOpTransform()
        h, w = image.shape[:2]
        return ResizeTransform(
            h, w, *self.get_output_shape(h, w, length, self.max_size), self.interp
        )

    @staticmethod
    def get_output_shape(
        oldh: int, oldw: int, short_edge_length: int, max_size: int
    ) -> tuple[int, int]:
        """(height, width) after resizing, halves rounded up, at least 1; torch.jit scripts it."""
        shortest = float(short_edge_length)
        scale = shortest / min(oldh, oldw)
        newh, neww = scale * oldh, shortest
        if oldh < oldw:
            newh, neww = shortest, scale * oldw
        longest = max(newh, neww)
        if longest > max_size:
            newh *= max_size / longest
            neww *= max_size / longest
        # Of a very thin image with a `max_size`, the short side would round to 0.
        return max(int(newh + 0.5), 1), max(int(neww + 0.5), 1)


class ResizeScale(Augmentation):
    """Fit the image into a target size times a drawn scale, keeping its proportions.

    Args:
        min_scale, max_scale: range of the scale (large-scale jitter: 0.1 to 2).
        target_height, target_width: size that scale 1 fits into.
        interp: PIL filter.
    """

    def __init__(
        self,
        min_scale: float,
        max_scale: float,
        target_height: int,
        target_width: int,
        interp: int = Image.BILINEAR,
    ):
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        return self._get_resize(image, np.random.uniform(self.min_scale, self.max_scale))

    def _get_resize(self, image: np.ndarray, scale: float) -> Transform:
        size = np.array(image.shape[:2])
        target = scale * np.array([self.target_height, self.target_width])
        new_h, new_w = np.round(size * np.min(target / size)).clip(1).astype(int).tolist()
        return ResizeTransform(*image.shape[:2], new_h, new_w, self.interp)


class RandomResize(Augmentation):
    """Resize to a size drawn from a list.

    Args:
        shape_list: sizes to choose from.
        interp: PIL filter.
    """

    def __init__(self, shape_list: list[tuple[int, int]], interp: int = Image.BILINEAR):
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        new_h, new_w = self.shape_list[np.random.choice(len(self.shape_list))]
        return ResizeTransform(*image.shape[:2], new_h, new_w, self.interp)
