"""DOTA: oriented objects in large aerial images, read as horizontal boxes."""

from lowres_d2.data.datasets.dota.dataset import DotaDataset
from lowres_d2.data.datasets.dota.label_files import (
    DOTA_CLASSES,
    DotaObject,
    check_dota_classes,
    is_dota_folder,
    read_dota_labels,
)
from lowres_d2.data.datasets.dota.splits import DotaSplit, find_dota_split
from lowres_d2.data.datasets.dota.tile_files import Tile, TileWriter, tiles_to_coco
from lowres_d2.data.datasets.dota.tiles import TileRules, objects_on_tile

__all__ = [
    "DOTA_CLASSES",
    "DotaDataset",
    "DotaObject",
    "DotaSplit",
    "Tile",
    "TileRules",
    "TileWriter",
    "check_dota_classes",
    "find_dota_split",
    "is_dota_folder",
    "objects_on_tile",
    "read_dota_labels",
    "tiles_to_coco",
]
