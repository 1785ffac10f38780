"""Data: sets of pictures with boxes, the mapper, and loaders whose batches can be repeated."""

from lowres_d2.data.augmentation import RandomSaturation
from lowres_d2.data.loader import BatchLoader, build_test_loader, build_train_loader
from lowres_d2.data.mapper import BrokenPictureError, DetectionMapper

__all__ = [
    "BatchLoader",
    "BrokenPictureError",
    "DetectionMapper",
    "RandomSaturation",
    "build_test_loader",
    "build_train_loader",
]
