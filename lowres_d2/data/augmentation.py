"""A faster form of one of Detectron2's augmentations, which would slow down small detectors.

Images are (H, W, C), RGB where they have colours.
"""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
from detectron2.data import transforms as T

_LUMA = np.array([0.299, 0.587, 0.114])  # BT.601


class RandomSaturation(T.Augmentation):
    """Random saturation: a weight below 1 makes an image greyer, above 1 more colourful.

    Draws the same random numbers as Detectron2's ``RandomSaturation``, and gives the same pixels to
    within one level. Blending with the grey image is linear in the colours, so one 3x3 matrix does
    it for all pixels; Detectron2 computes in float64, which takes several times as long as reading
    the file. Images of other than three channels have no colours to change, and stay as they are.

    Args:
        intensity_min: smallest weight of the image itself; its grey version has the rest.
        intensity_max: largest weight.
    """

    def __init__(self, intensity_min: float, intensity_max: float) -> None:
        super().__init__()
        self.intensity_min, self.intensity_max = intensity_min, intensity_max

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Draw a weight, and return the transform for an image."""
        weight = np.random.uniform(self.intensity_min, self.intensity_max)  # noqa: NPY002
        if image.shape[-1] != 3:
            return T.NoOpTransform()
        # Each channel becomes (1 - weight) luma + weight channel.
        matrix = (1 - weight) * np.tile(_LUMA, (3, 1)) + weight * np.eye(3)
        return T.ColorTransform(partial(cv2.transform, m=matrix))
