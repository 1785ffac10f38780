"""A large image as a detector gets it: its tiles one by one, and a small copy of the whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lowres_d2.modeling.tiles.shrunk import shrunk, thumbnail
from lowres_d2.structures import Size, TileGrid, Window, WindowedImage

from detectron2.structures import Instances
from torch import Tensor

_OF_THE_FRAME = ("image", "height", "width", "instances")
Part = tuple[int, dict[str, Any]]  # index and input of the detector


@dataclass
class ImageParts:
    """An image, and what was found on its parts.

    Attributes:
        given: input of the detector.
        grid: how it is cut.
        windows: its tiles; none if it is not cut.
        looked_at: indices of the tiles that the detector gets.
        outputs: of the detector, by the index of the part: that of a tile, or behind the tiles that
            of the small copy.
    """

    given: dict[str, Any]
    grid: TileGrid
    windows: list[Window] = field(init=False)
    looked_at: list[int] = field(init=False)
    outputs: dict[int, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one = self.grid.has_one_tile(self.size)
        self.windows = [] if one else self.grid.windows(self.size)
        self.looked_at = [*range(len(self.windows))]

    @property
    def image(self) -> WindowedImage:
        """Its pixels."""
        return self.given["image"]

    @property
    def size(self) -> Size:
        """Height and width of the image."""
        height, width = self.image.shape[-2:]
        return height, width

    @property
    def wanted(self) -> Size:
        """Size of the frame that detections are wanted in."""
        return self.given.get("height", self.size[0]), self.given.get("width", self.size[1])

    def tiles(self) -> Iterator[Part]:
        """The tiles that are looked at; of an image that is not cut itself.

        Raises:
            ValueError: an input cannot be cut.
        """
        if not self.windows:
            image = self.image
            read = (
                image if isinstance(image, Tensor) else image[:, 0 : self.size[0], 0 : self.size[1]]
            )
            yield 0, self.given | {"image": read}
            return
        more = self._more()
        for index in self.looked_at:
            window = self.windows[index]
            tile = self.image[:, window.y0 : window.y1, window.x0 : window.x1]
            height, width = window.size
            yield index, more | {"image": tile, "height": height, "width": width}

    def whole(self, factor: int | None = None) -> Iterator[Part]:
        """The image shrunk by a factor, or to a tile; nothing of an image that is not cut."""
        if self.windows:
            more = self._more()
            small, (height, width) = (
                thumbnail(self.image, factor) if factor else shrunk(self.image, self.grid.size)
            )
            part = more | {"image": small, "height": height, "width": width}
            yield len(self.windows), part

    def _more(self) -> dict[str, Any]:
        """Inputs beside the image."""
        more = {key: value for key, value in self.given.items() if key not in _OF_THE_FRAME}
        for key, value in more.items():
            if isinstance(value, Instances) or (isinstance(value, Tensor) and value.dim() > 1):
                raise ValueError(
                    f"input '{key}' may have the image's coordinates and cannot be cut into tiles: "
                    "remove it in the mapper"
                )
        return more
