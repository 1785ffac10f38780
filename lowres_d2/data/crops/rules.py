"""How training images are cut out of large ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lowres_d2.structures import TileGrid


@dataclass(frozen=True)
class CropRules:
    """How images are cut.

    Attributes:
        size: of a crop in pixels, a number or [height, width].
        overlap: of neighbouring crops, likewise; None: a fifth of the size.
        least_inside: share of an object's area that has to be on a crop for it to be an object
            there; with less of it on the crop, it is an ignore region.

    Raises:
        ValueError: a value is out of its range.
    """

    size: int | Sequence[int] = (512, 640)
    overlap: int | Sequence[int] | None = 30
    least_inside: float = 0.7

    def __post_init__(self) -> None:
        grid = TileGrid(self.size, self.overlap)
        if not 0 < self.least_inside <= 1:
            raise ValueError(f"least_inside {self.least_inside:g}: expected a share, over 0 to 1")
        object.__setattr__(self, "size", list(grid.size))
        object.__setattr__(self, "overlap", list(grid.overlap))

    @property
    def grid(self) -> TileGrid:
        """Where the crops lie."""
        return TileGrid(self.size, self.overlap)


# TinyPerson's: the overlap in "Rethinking the Backbone Architecture for Tiny Object Detection", and
# the one in the data set's documentation.
PRESETS = {
    "bottom-heavy": CropRules([512, 640], 30),
    "tinyperson": CropRules([512, 640], 50),
    "dota": CropRules(1024, 200),
}
