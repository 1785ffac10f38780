"""What augmentations change: an image of any number of channels, uint8 or float32.

Detectron2 resizes uint8 images of one or three channels as Pillow does, with antialiasing. It
resizes floating point without, takes a fourth channel for alpha, and refuses others. Here every
channel is resized as Pillow does it.
"""

from __future__ import annotations

import numpy as np
from detectron2.data import transforms as T
from PIL import Image

_MOVES_PIXELS = (T.ResizeTransform, T.ExtentTransform, T.RotationTransform)


class ImageInput(T.AugInput):
    """Detectron2's ``AugInput`` for an image (H, W, C).

    Sides that a resize would round to 0 pixels become 1 pixel, in the transform itself, so that
    boxes follow.
    """

    def transform(self, tfm: T.Transform) -> None:
        """Apply a transform to the image, in place."""
        keep_a_pixel(tfm)
        if isinstance(tfm, T.TransformList):
            for part in tfm.transforms:
                self.transform(part)
        elif isinstance(tfm, _MOVES_PIXELS) and not _as_pillow_has_it(self.image):
            channels = np.moveaxis(self.image, 2, 0)
            self.image = np.stack([_move(tfm, channel) for channel in channels], axis=2)
        else:
            self.image = tfm.apply_image(self.image)


def keep_a_pixel(tfm: T.Transform) -> None:
    """Make the sides of a transform's result at least 1 pixel, in place."""
    if isinstance(tfm, T.TransformList):
        for part in tfm.transforms:
            keep_a_pixel(part)
    elif isinstance(tfm, T.ResizeTransform):
        tfm.new_h, tfm.new_w = max(tfm.new_h, 1), max(tfm.new_w, 1)


def _as_pillow_has_it(image: np.ndarray) -> bool:
    return image.dtype == np.uint8 and image.shape[2] in (1, 3)


def _move(tfm: T.Transform, channel: np.ndarray) -> np.ndarray:
    """Apply a transform to one channel (H, W)."""
    if not isinstance(tfm, T.ResizeTransform) or channel.dtype == np.uint8:
        return tfm.apply_image(np.ascontiguousarray(channel))
    resized = Image.fromarray(channel.astype(np.float32)).resize((tfm.new_w, tfm.new_h), tfm.interp)
    return np.asarray(resized)
