"""VisDrone: objects seen by drones over cities."""

from lowres_d2.data.datasets.visdrone.dataset import VisDroneDataset
from lowres_d2.data.datasets.visdrone.label_files import (
    VISDRONE_CLASSES,
    VisDroneObject,
    is_visdrone_folder,
    read_visdrone_labels,
)

__all__ = [
    "VISDRONE_CLASSES",
    "VisDroneDataset",
    "VisDroneObject",
    "is_visdrone_folder",
    "read_visdrone_labels",
]
