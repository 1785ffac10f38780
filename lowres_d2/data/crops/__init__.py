"""Training images cut out of large ones, with the objects and ignore regions on them."""

from lowres_d2.data.crops.files import Crop, CropWriter, Source, crops_to_coco, write_crops
from lowres_d2.data.crops.objects import CropObject, Outline, objects_on_crop
from lowres_d2.data.crops.of_dataset import sources_of
from lowres_d2.data.crops.rules import PRESETS, CropRules

__all__ = [
    "PRESETS",
    "Crop",
    "CropObject",
    "CropRules",
    "CropWriter",
    "Outline",
    "Source",
    "crops_to_coco",
    "objects_on_crop",
    "sources_of",
    "write_crops",
]
