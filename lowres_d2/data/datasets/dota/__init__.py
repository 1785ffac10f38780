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
from lowres_d2.data.datasets.dota.tiles import TileRules, outlines_of, sources_of_split

__all__ = [
    "DOTA_CLASSES",
    "DotaDataset",
    "DotaObject",
    "DotaSplit",
    "TileRules",
    "check_dota_classes",
    "find_dota_split",
    "is_dota_folder",
    "outlines_of",
    "read_dota_labels",
    "sources_of_split",
]
