"""Classification data sets from their original files, and loaders of images in memory."""

from lowres_d2.data.classification.arrays import ImageArrays
from lowres_d2.data.classification.cifar10 import Cifar10
from lowres_d2.data.classification.cifar100 import Cifar100
from lowres_d2.data.classification.loaders import (
    build_array_test_loader,
    build_array_train_loader,
)

__all__ = [
    "Cifar10",
    "Cifar100",
    "ImageArrays",
    "build_array_test_loader",
    "build_array_train_loader",
]
