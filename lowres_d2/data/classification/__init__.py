"""Classification data sets from their original files, and loaders of images in memory."""

from lowres_d2.data.classification.arrays import ImageArrays
from lowres_d2.data.classification.cifar10 import Cifar10
from lowres_d2.data.classification.cifar100 import Cifar100
from lowres_d2.data.classification.class_folders import ClassFolders
from lowres_d2.data.classification.crops import RandomResizedCrop, ResizedCenterCrop
from lowres_d2.data.classification.folder_files import ClassFolderFiles, count_class_folders
from lowres_d2.data.classification.imagenet32 import ImageNet32
from lowres_d2.data.classification.loaders import (
    build_array_test_loader,
    build_array_train_loader,
)
from lowres_d2.data.classification.mapper import ClassificationMapper
from lowres_d2.data.classification.svhn import SVHN

__all__ = [
    "SVHN",
    "Cifar10",
    "Cifar100",
    "ClassFolderFiles",
    "ClassFolders",
    "ClassificationMapper",
    "ImageArrays",
    "ImageNet32",
    "RandomResizedCrop",
    "ResizedCenterCrop",
    "build_array_test_loader",
    "build_array_train_loader",
    "count_class_folders",
]
