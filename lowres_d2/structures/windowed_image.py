"""An image whose windows are read one by one, so that it never has to be in memory as a whole."""

from __future__ import annotations

from typing import Protocol

from jaxtyping import Shaped
from torch import Tensor


class WindowedImage(Protocol):
    """What a tensor (C, H, W) and an image in a file have in common.

    Attributes:
        shape: channels, height and width.
    """

    shape: tuple[int, int, int]

    def __getitem__(self, window: tuple[slice, slice, slice]) -> Shaped[Tensor, "C _h _w"]:
        """Pixels of ``image[:, y0:y1, x0:x1]``."""
        ...
