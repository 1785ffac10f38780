"""Ignore regions in training: blanked, or passed on, so that they are not learned as background.

Boxes are in pixels of the stored image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from detectron2.structures import BoxMode

# What training makes of crowds: background, as Detectron2's mapper; blanked regions; or regions of
# which the detector learns nothing as background.
CROWDS = ("background", "blank", "ignore")


def blank_crowds(image: np.ndarray, annotations: Sequence[dict]) -> np.ndarray:
    """An image whose ignore regions have its mean colour, except where they overlap objects.

    Args:
        image: (H, W, C); it is not changed.
        annotations: Detectron2's; those with ``iscrowd`` 1 are ignore regions.
    """
    crowds = [a for a in annotations if a.get("iscrowd", 0)]
    if not crowds:
        return image
    hidden = np.zeros(image.shape[:2], bool)
    _mark(hidden, crowds, True)
    _mark(hidden, (a for a in annotations if not a.get("iscrowd", 0)), False)
    mean = image.reshape(-1, image.shape[2]).mean(axis=0, dtype=np.float64)
    blanked = image.copy()
    blanked[hidden] = mean.round() if image.dtype == np.uint8 else mean
    return blanked


def _mark(mask: np.ndarray, annotations: Iterable[dict], value: bool) -> None:
    """Set the pixels that boxes touch."""
    for annotation in annotations:
        box = BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)
        left, top = np.floor(box[:2]).astype(int).clip(0)
        right, bottom = np.ceil(box[2:]).astype(int).clip(0)
        mask[top:bottom, left:right] = value
