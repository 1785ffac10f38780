"""Flips, rotations, colour changes, and chance itself; with `resizing` and `cropping`, all of the
augmentations that Detectron2 has in this module. Images are (H, W, C), uint8 or floating point.
"""

# ruff: noqa: NPY002 (Detectron2 draws from numpy's global generator; so must we)

from __future__ import annotations

import numpy as np
from detectron2._uncovered import uncovered
from fvcore.transforms.transform import (
    BlendTransform,
    HFlipTransform,
    NoOpTransform,
    Transform,
    VFlipTransform,
)

from .augmentation import Augmentation, _transform_to_aug
from .cropping import FixedSizeCrop, MinIoURandomCrop, RandomCrop, RandomExtent
from .resizing import RandomResize, Resize, ResizeScale, ResizeShortestEdge
from .transform import RotationTransform

__all__ = [
    "FixedSizeCrop",
    "MinIoURandomCrop",
    "RandomApply",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomCrop_CategoryAreaConstraint",
    "RandomExtent",
    "RandomFlip",
    "RandomLighting",
    "RandomResize",
    "RandomRotation",
    "RandomSaturation",
    "Resize",
    "ResizeScale",
    "ResizeShortestEdge",
]

RandomCrop_CategoryAreaConstraint = uncovered("RandomCrop_CategoryAreaConstraint")


class RandomApply(Augmentation):
    """Apply an augmentation or transform with a probability.

    Args:
        tfm_or_aug: what to apply.
        prob: how often, in [0, 1].
    """

    def __init__(self, tfm_or_aug: Augmentation | Transform, prob: float = 0.5):
        if not 0.0 <= prob <= 1.0:  # AssertionError as upstream raises it
            raise AssertionError(f"RandomApply: prob must be in [0, 1], got {prob}")
        self.aug = _transform_to_aug(tfm_or_aug)
        self.prob = prob

    def get_transform(self, *args) -> Transform:
        return self.aug.get_transform(*args) if self._rand_range() < self.prob else NoOpTransform()

    def __call__(self, aug_input) -> Transform:
        return self.aug(aug_input) if self._rand_range() < self.prob else NoOpTransform()


class RandomFlip(Augmentation):
    """Mirror with a probability: left-right, or (`vertical`) top-bottom; for both, use two."""

    def __init__(self, prob: float = 0.5, *, horizontal: bool = True, vertical: bool = False):
        if horizontal == vertical:
            raise ValueError("RandomFlip: exactly one of horizontal and vertical must be True")
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        if self._rand_range() >= self.prob:
            return NoOpTransform()
        h, w = image.shape[:2]
        return HFlipTransform(w) if self.horizontal else VFlipTransform(h)


class RandomRotation(Augmentation):
    """Rotate by a drawn angle about a drawn point.

    Args:
        angle: degrees, counter-clockwise: one number; or ("range") smallest and largest; or
            ("choice") the angles to choose from.
        expand: enlarge the output so that the whole rotated image fits.
        center: ("range") two corners ((x, y), (x, y)) to draw the fixed point between; or
            ("choice") the points to choose from; in fractions of the image's size. None is the
            image's centre.
        sample_style: "range" or "choice".
        interp: OpenCV interpolation flag.
    """

    def __init__(
        self,
        angle: float | list[float],
        expand: bool = True,
        center: list[tuple[float, float]] | None = None,
        sample_style: str = "range",
        interp: int | None = None,
    ):
        if sample_style not in ("range", "choice"):
            raise ValueError(f"sample_style must be 'range' or 'choice', got {sample_style!r}")
        is_range = sample_style == "range"
        if isinstance(angle, float | int):
            angle = (angle, angle)
        if center is not None and isinstance(center[0], float | int):
            center = (center, center)
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        h, w = image.shape[:2]
        center = None
        if self.is_range:
            angle = np.random.uniform(*self.angle)
            if self.center is not None:
                (x0, y0), (x1, y1) = self.center
                center = np.random.uniform(x0, x1), np.random.uniform(y0, y1)
        else:
            angle = np.random.choice(self.angle)
            if self.center is not None:
                center = self.center[np.random.choice(len(self.center))]
        if angle % 360 == 0:
            return NoOpTransform()
        if center is not None:
            center = (w * center[0], h * center[1])
        return RotationTransform(h, w, angle, self.expand, center, self.interp)


class _RandomIntensity(Augmentation):
    """Blend with another image at a drawn weight: below 1 towards it, above 1 away from it.

    Args:
        intensity_min, intensity_max: range of the weight of the image itself.
    """

    def __init__(self, intensity_min: float, intensity_max: float):
        self._init(locals())

    def _other(self, image: np.ndarray) -> np.ndarray | float:
        raise NotImplementedError

    def get_transform(self, image: np.ndarray) -> Transform:
        weight = np.random.uniform(self.intensity_min, self.intensity_max)
        return BlendTransform(self._other(image), src_weight=1 - weight, dst_weight=weight)


class RandomContrast(_RandomIntensity):
    """Contrast: below 1 less, above 1 more, about the image's mean."""

    def _other(self, image: np.ndarray) -> np.ndarray | float:
        return image.mean()


class RandomBrightness(_RandomIntensity):
    """Brightness: below 1 darker, above 1 brighter."""

    def _other(self, image: np.ndarray) -> np.ndarray | float:
        return 0


class RandomSaturation(_RandomIntensity):
    """Saturation of an RGB image: below 1 greyer, above 1 more colourful."""

    def _other(self, image: np.ndarray) -> np.ndarray | float:
        if image.shape[-1] != 3:
            raise ValueError(f"RandomSaturation needs an RGB image, got shape {image.shape}")
        return image.dot([0.299, 0.587, 0.114])[:, :, None]  # luma of BT.601


class RandomLighting(Augmentation):
    """AlexNet's lighting noise along the principal components of ImageNet's RGB values.

    Args:
        scale: standard deviation of the three weights.
    """

    def __init__(self, scale: float):
        self._init(locals())
        self.eigen_vecs = np.array(
            [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
        )
        self.eigen_vals = np.array([0.2175, 0.0188, 0.0045])

    def get_transform(self, image: np.ndarray) -> Transform:
        if image.shape[-1] != 3:
            raise ValueError(f"RandomLighting needs an RGB image, got shape {image.shape}")
        weights = np.random.normal(scale=self.scale, size=3)
        offset = self.eigen_vecs.dot(weights * self.eigen_vals)
        return BlendTransform(src_image=offset, src_weight=1.0, dst_weight=1.0)
