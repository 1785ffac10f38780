"""Data sets of images with boxes, the dataset mapper, and reproducible data loaders."""

from lowres_d2.data.augmentation import RandomSaturation
from lowres_d2.data.loader import (
    BatchLoader,
    build_test_loader,
    build_train_loader,
    images_per_epoch,
)
from lowres_d2.data.mapper import BrokenImageError, DetectionMapper

__all__ = [
    "BatchLoader",
    "BrokenImageError",
    "DetectionMapper",
    "RandomSaturation",
    "build_test_loader",
    "build_train_loader",
    "images_per_epoch",
]
