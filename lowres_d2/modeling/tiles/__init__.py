"""Large images in tiles: the detector that sees them, and how their detections are merged."""

from lowres_d2.modeling.tiles.merging import cut_by_seams, merge
from lowres_d2.modeling.tiles.tiled_detector import TiledDetector, untiled

__all__ = ["TiledDetector", "cut_by_seams", "merge", "untiled"]
