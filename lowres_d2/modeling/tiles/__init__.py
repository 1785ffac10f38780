"""Large images in tiles: the detector that sees them, and how their detections are merged."""

from lowres_d2.modeling.tiles.choice import TINY, UNSURE, FirstLook, LookedAt, sum_of_tiles
from lowres_d2.modeling.tiles.merging import cut_by_seams, merge
from lowres_d2.modeling.tiles.tiled_detector import TiledDetector, counting_tiles, untiled

__all__ = [
    "TINY",
    "UNSURE",
    "FirstLook",
    "LookedAt",
    "TiledDetector",
    "counting_tiles",
    "cut_by_seams",
    "merge",
    "sum_of_tiles",
    "untiled",
]
