"""Ignore regions in training: blanked, or passed on, so that they are not learned as background.

Boxes are in pixels of the stored image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from detectron2.structures import BoxMode

# What training makes of crowds: background, as Detectron2's mapper; blanked regions, of the mean
# colour of the image or each of its own; or regions of which the detector learns nothing as
# background.
CROWDS = ("background", "blank", "region_mean", "ignore")


def blank_crowds(
    image: np.ndarray, annotations: Sequence[dict], region_mean: bool = False
) -> np.ndarray:
    """An image whose ignore regions are of one colour, except where they overlap objects.

    Args:
        image: (H, W, C); it is not changed.
        annotations: Detectron2's; those with ``iscrowd`` 1 are ignore regions.
        region_mean: whether each region has its own mean colour; otherwise all have the image's.
    """
    crowds = [_touched(a) for a in annotations if a.get("iscrowd", 0)]
    if not crowds:
        return image
    hidden = np.ones(image.shape[:2], bool)
    for annotation in annotations:
        if not annotation.get("iscrowd", 0):
            hidden[_touched(annotation)] = False
    color = None if region_mean else _mean(image)
    blanked = image.copy()
    for region in crowds:
        if hidden[region].any():
            blanked[region][hidden[region]] = _mean(image[region]) if region_mean else color
    return blanked


def _mean(image: np.ndarray) -> np.ndarray:
    mean = image.mean(axis=(0, 1), dtype=np.float64)
    return mean.round() if image.dtype == np.uint8 else mean


def _touched(annotation: Mapping[str, Any]) -> tuple[slice, slice]:
    """Rows and columns of the pixels that a box touches."""
    box = BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)
    left, top = np.floor(box[:2]).astype(int).clip(0)
    right, bottom = np.ceil(box[2:]).astype(int).clip(0)
    return slice(top, bottom), slice(left, right)
