"""Augmentations that keep a part of the image. Sizes are (height, width); boxes XYXY pixels."""

# ruff: noqa: NPY002 (Detectron2 draws from numpy's global generator; so must we)

from __future__ import annotations

import numpy as np
from fvcore.transforms.transform import (
    CropTransform,
    NoOpTransform,
    PadTransform,
    Transform,
    TransformList,
)

from .augmentation import Augmentation
from .transform import ExtentTransform

__all__ = ["FixedSizeCrop", "MinIoURandomCrop", "RandomCrop", "RandomExtent"]


class RandomCrop(Augmentation):
    """Crop at a random place.

    Args:
        crop_type: what `crop_size` means: "relative", fractions of the image's size;
            "relative_range", the smallest such fractions, drawn per side up to 1; "absolute",
            pixels; "absolute_range", (smallest, largest) length in pixels of either side.
        crop_size: two numbers; first of the height, except for "absolute_range".
    """

    def __init__(self, crop_type: str, crop_size: tuple[float, float]):
        if crop_type not in ("relative_range", "relative", "absolute", "absolute_range"):
            raise ValueError(
                "crop_type must be relative, relative_range, absolute or absolute_range, got "
                f"{crop_type!r}"
            )
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        h, w = image.shape[:2]
        crop_h, crop_w = self.get_crop_size((h, w))
        if crop_h > h or crop_w > w:
            raise ValueError(f"{self}: crop of {crop_h}x{crop_w} from an image of {h}x{w}")
        y0 = np.random.randint(h - crop_h + 1)
        x0 = np.random.randint(w - crop_w + 1)
        return CropTransform(x0, y0, crop_w, crop_h)

    def get_crop_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Draw the crop's (height, width) for an image of `image_size`."""
        h, w = image_size
        if self.crop_type == "absolute":
            return min(self.crop_size[0], h), min(self.crop_size[1], w)
        if self.crop_type == "absolute_range":
            low, high = self.crop_size
            crop_h = np.random.randint(min(h, low), min(h, high) + 1)
            crop_w = np.random.randint(min(w, low), min(w, high) + 1)
            return crop_h, crop_w
        share_h, share_w = self.crop_size
        if self.crop_type == "relative_range":
            smallest = np.asarray(self.crop_size, dtype=np.float32)
            share_h, share_w = smallest + np.random.rand(2) * (1 - smallest)
        return max(int(h * share_h + 0.5), 1), max(int(w * share_w + 0.5), 1)


class RandomExtent(Augmentation):
    """Take a region of random size and place, which may reach outside, at its own resolution.

    Args:
        scale_range: (smallest, largest) size of the region in image sizes.
        shift_range: (x, y): the region's centre moves by up to half of these, in image sizes.
    """

    def __init__(self, scale_range: tuple[float, float], shift_range: tuple[float, float]):
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        size = np.array([image.shape[1], image.shape[0]])  # x, y
        half = np.random.uniform(*self.scale_range) * 0.5 * size
        shift_x = np.random.rand() - 0.5
        shift_y = np.random.rand() - 0.5
        middle = (0.5 + np.array(self.shift_range) * [shift_x, shift_y]) * size
        width, height = (2 * half).astype(int).clip(1).tolist()
        rectangle = (*(middle - half).tolist(), *(middle + half).tolist())
        return ExtentTransform(src_rect=rectangle, output_size=(height, width))


class FixedSizeCrop(Augmentation):
    """Cut to at most a size, at a random place, and pad right and below up to that size.

    Args:
        crop_size: (height, width) of the result.
        pad: whether to pad.
        pad_value: of the image.
        seg_pad_value: of the segmentation (255 is usually 'ignore').
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        pad: bool = True,
        pad_value: float = 128.0,
        seg_pad_value: int = 255,
    ):
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> TransformList:
        transforms = [self._get_crop(image)]
        if self.pad:
            transforms.append(self._get_pad(image))
        return TransformList(transforms)

    def _get_crop(self, image: np.ndarray) -> Transform:
        size, wanted = np.array(image.shape[:2]), np.array(self.crop_size)
        # One number for both axes: the crop slides along the diagonal of the free room.
        room = np.maximum(size - wanted, 0)
        y0, x0 = np.round(room * np.random.uniform(0.0, 1.0)).astype(int).tolist()
        h, w = size.tolist()
        return CropTransform(x0, y0, *self.crop_size[::-1], w, h)

    def _get_pad(self, image: np.ndarray) -> Transform:
        size, wanted = np.array(image.shape[:2]), np.array(self.crop_size)
        pad_h, pad_w = np.maximum(wanted - size, 0).tolist()
        kept_h, kept_w = np.minimum(wanted, size).tolist()
        return PadTransform(0, 0, pad_w, pad_h, kept_w, kept_h, self.pad_value, self.seg_pad_value)


class MinIoURandomCrop(Augmentation):
    """SSD's crop: every box has at least a drawn IoU with the cut-out, one has its centre in it.

    Args:
        min_ious: thresholds to draw from; no crop and a crop without condition are drawn as well.
        min_crop_size: smallest side of the crop, as a fraction of the image's.
        mode_trials: thresholds drawn before giving up.
        crop_trials: crops drawn for each.
    """

    def __init__(
        self,
        min_ious: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9),
        min_crop_size: float = 0.3,
        mode_trials: int = 1000,
        crop_trials: int = 50,
    ):
        self._init(locals())
        self.sample_mode = (1, *min_ious, 0)

    def get_transform(self, image: np.ndarray, boxes: np.ndarray | None) -> Transform:
        if boxes is None:
            return NoOpTransform()
        h, w = image.shape[:2]
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        for _ in range(self.mode_trials):
            min_iou = np.random.choice(self.sample_mode)
            if min_iou == 1:
                return NoOpTransform()
            for _ in range(self.crop_trials):
                new_w = np.random.uniform(self.min_crop_size * w, w)
                new_h = np.random.uniform(self.min_crop_size * h, h)
                if not 0.5 <= new_h / new_w <= 2:
                    continue
                # From the far end to 1, not to 0: so that a seed gives the crops it gives upstream.
                x0, y0 = np.random.uniform(w - new_w, 1.0), np.random.uniform(h - new_h, 1.0)
                # Its far end, rounded by itself, can lie a pixel beyond that of the crop.
                patch = np.array([x0, y0, x0 + new_w, y0 + new_h]).astype(int)
                if (patch[2:] == patch[:2]).any():
                    continue
                if len(boxes):
                    if _ious(patch, boxes).min() < min_iou:
                        continue
                    if not ((centers > patch[:2]) & (centers < patch[2:])).all(axis=1).any():
                        continue
                return CropTransform(int(x0), int(y0), int(new_w), int(new_h))
        return NoOpTransform()


def _ious(patch: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """IoU of one box with each of several, all XYXY."""
    overlap = np.minimum(boxes[:, 2:], patch[2:]) - np.maximum(boxes[:, :2], patch[:2])
    inter = overlap.clip(0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return inter / (areas + (patch[2:] - patch[:2]).prod() - inter)
