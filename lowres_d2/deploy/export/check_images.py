"""Images on which an exported model is checked where nobody gives others."""

from __future__ import annotations

from lowres_d2.data.plates.scene import SceneSettings, lay_out, paint_scene

import numpy as np

NUMBER = 20
_SIDE = 320


def check_images(channels: int, number: int = NUMBER, *, any_size: bool = True) -> list[np.ndarray]:
    """Images (H, W, C), uint8: generated plates, or noise where C is not 3.

    Args:
        channels: C.
        number: of images.
        any_size: whether they differ in size.
    """
    rng = np.random.default_rng(0)
    settings = SceneSettings(image_size=_SIDE)
    images = []
    for index in range(number):
        height, width = rng.integers(_SIDE // 3, _SIDE, 2) if any_size else (_SIDE, _SIDE)
        if channels == 3:
            image = paint_scene(lay_out(0, 0, index, settings))
        else:
            image = rng.integers(0, 256, (_SIDE, _SIDE, channels), np.uint8)
        images.append(np.ascontiguousarray(image[:height, :width]))
    return images
