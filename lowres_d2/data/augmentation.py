"""An augmentation that Detectron2 has, in a form that does not hold up small detectors.

Images are (H, W, 3), RGB.
"""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
from detectron2.data import transforms as T

_LUMA = np.array([0.299, 0.587, 0.114])  # BT.601


class RandomSaturation(T.Augmentation):
    """Saturation: below 1 greyer, above 1 more colourful.

    Draws as Detectron2's of this name, and gives its pixels to a level. Blending with the grey
    image is linear in the colour, so it is one matrix for all pixels; Detectron2's images of
    float64 on the way take several times as long as reading the file does.

    Args:
        intensity_min: smallest weight of the image itself.
        intensity_max: largest.
    """

    def __init__(self, intensity_min: float, intensity_max: float) -> None:
        super().__init__()
        self.intensity_min, self.intensity_max = intensity_min, intensity_max

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """The transform of an image, with a weight drawn for it."""
        if image.shape[-1] != 3:
            raise ValueError(f"RandomSaturation needs an RGB image, got shape {image.shape}")
        weight = np.random.uniform(self.intensity_min, self.intensity_max)  # noqa: NPY002
        matrix = (1 - weight) * np.tile(_LUMA, (3, 1)) + weight * np.eye(3)
        return T.ColorTransform(partial(cv2.transform, m=matrix))
