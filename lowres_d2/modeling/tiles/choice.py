"""Which tiles of a large image are looked at, from what a detector has found on its thumbnail.

A tile of sky needs no second look, nor does one whose objects are found surely at low resolution.
M boxes, XYXY in pixels of the whole image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lowres_d2.modeling.tiles.merging import seam_distances
from lowres_d2.modeling.tiles.pairs import areas, intersections
from lowres_d2.structures import Size, Window

import torch
from jaxtyping import Bool, Float
from torch import Tensor

UNSURE, TINY = (0.1, 0.5), 32.0  # as defaults


class LookedAt(NamedTuple):
    """How many tiles were given to the detector.

    Attributes:
        tiles: number of them.
        of: number of all.
    """

    tiles: int
    of: int

    @property
    def share(self) -> float:
        """Share of the tiles; 1 where there are none."""
        return self.tiles / self.of if self.of else 1.0

    def __str__(self) -> str:
        return f"{self.tiles} of {self.of} ({100 * self.share:.1f} %)"


def sum_of_tiles(counts: Iterable[LookedAt]) -> LookedAt:
    """The tiles of several images."""
    return LookedAt(*(sum(numbers) for numbers in zip((0, 0), *counts, strict=True)))


@dataclass(frozen=True)
class FirstLook:
    """A first look at a thumbnail, and which tiles are looked at then.

    Attributes:
        factor: whole number by which the thumbnail is smaller.
        unsure: lowest and highest score of the detections that are looked at again; a tile that has
            none counts as one with a score of 0. None: no tile is looked at.
        tiny: square root of the area in pixels of the image, under which detections of higher
            scores are looked at again, too.

    Raises:
        ValueError: a value is out of its range.
    """

    factor: int
    unsure: Sequence[float] | None = UNSURE
    tiny: float = TINY

    def __post_init__(self) -> None:
        if type(self.factor) is not int or self.factor < 2:
            raise ValueError(f"tiles: first={self.factor}: expected a whole number, 2 or more")
        if self.unsure is not None and not _are_two_scores(self.unsure):
            raise ValueError(
                f"tiles: unsure={self.unsure}: expected two scores, 0 to 1, the lower one first"
            )
        if self.tiny < 0:
            raise ValueError(f"tiles: tiny={self.tiny}: expected 0 or more pixels")

    def chosen(
        self,
        boxes: Float[Tensor, "M 4"],
        scores: Float[Tensor, " M"],
        windows: Sequence[Window],
        size: Size,
    ) -> list[int]:
        """Indices of the tiles that are looked at.

        Args:
            boxes: detections on the thumbnail.
            scores: of each.
            windows: the tiles.
            size: of the image.
        """
        if self.unsure is None:
            return []
        low, high = self.unsure
        theirs = tiles_of(boxes, windows, size)
        again = (scores >= low) & ((scores <= high) | (areas(boxes).sqrt() < self.tiny))
        looked_at = theirs[again].any(dim=0)
        if low <= 0:
            looked_at |= ~theirs.any(dim=0)
        return looked_at.nonzero()[:, 0].tolist()


def _are_two_scores(value: Any) -> bool:
    two = isinstance(value, Sequence) and len(value) == 2
    return two and 0 <= value[0] <= value[1] <= 1


def tiles_of(
    boxes: Float[Tensor, "M 4"], windows: Sequence[Window], size: Size
) -> Bool[Tensor, "M tiles"]:
    """Which tiles show a box best: the one that has it farthest from its seams.

    Of a box that no tile has as a whole, all that have some of it.
    """
    places = boxes.new_tensor(windows)
    distances = seam_distances(boxes[:, None], places[None], size)
    best = torch.zeros_like(distances, dtype=torch.bool)
    best[torch.arange(len(boxes)), distances.argmax(dim=1)] = True
    pairs = (one.reshape(-1, 4) for one in torch.broadcast_tensors(boxes[:, None], places[None]))
    some = intersections(*pairs).reshape(distances.shape) > 0
    return torch.where(distances.amax(dim=1, keepdim=True) >= 0, best, some)
