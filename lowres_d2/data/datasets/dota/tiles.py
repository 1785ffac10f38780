"""How DOTA's images are cut into tiles, and its objects for it.

As the benchmark's tools cut them: an object of which less than 70 % is on a tile is an ignore
region there. Here its box is the one around what is on the tile of its outline, and smaller images
are not padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lowres_d2.data.crops import CropRules, Outline, Source
from lowres_d2.data.datasets.dota.dataset import check_difficult
from lowres_d2.data.datasets.dota.label_files import DotaObject
from lowres_d2.data.datasets.dota.splits import DotaSplit
from lowres_d2.structures import TileGrid


@dataclass(frozen=True)
class TileRules:
    """How images are cut.

    Attributes:
        size: side of a tile in pixels.
        overlap: of neighbouring tiles, in pixels.
        least_inside: as in :class:`~lowres_d2.data.crops.CropRules`.
        difficult: "ignore": difficult objects are ignore regions; "object": objects like others.

    Raises:
        ValueError: a value is out of its range.
    """

    size: int = 1024
    overlap: int = 200
    least_inside: float = 0.7
    difficult: str = "ignore"

    def __post_init__(self) -> None:
        CropRules(self.size, self.overlap, self.least_inside)  # raises where they make no sense
        check_difficult(self.difficult)

    @property
    def grid(self) -> TileGrid:
        """Where the tiles lie."""
        return TileGrid(self.size, self.overlap)


def outlines_of(objects: Sequence[DotaObject], rules: TileRules) -> list[Outline]:
    """Objects of an image, to be cut with it; their parts keep ``difficult``."""
    ignores = rules.difficult == "ignore"
    return [
        Outline(
            labelled.name,
            labelled.corners,
            labelled.difficult > 0 and ignores,
            {"difficult": labelled.difficult},
        )
        for labelled in objects
    ]


def sources_of_split(
    split: DotaSplit, objects: dict[str, list[DotaObject]], rules: TileRules
) -> list[Source]:
    """The images of a split, to be cut."""
    return [
        Source(name, path, outlines_of(objects[name], rules))
        for name, (path, _) in split.files.items()
    ]
