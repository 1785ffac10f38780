"""Pascal VOC: 2007 and 2012 trainval, tested on 2007 test; see datasets/README.md."""

from lowres_d2.data.datasets import VocDataset

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T

from .loaders import dataloader

_ROOT = "${oc.env:DETECTRON2_DATASETS,datasets}"

dataloader.train.dataset = L(VocDataset)(
    # Folder with VOC2007 and VOC2012 in it.
    root=_ROOT,
    # Name of a list in ImageSets/Main.
    split="trainval",
    # One year, or several that are joined.
    year=[2007, 2012],
    # Classes to use, in this order; null: VOC's twenty.
    classes=None,
)
dataloader.train.mapper.augmentations = [
    L(T.ResizeShortestEdge)(
        # One of these lengths for the shorter side ...
        short_edge_length=[480, 512, 544, 576, 608, 640],
        # ... unless the longer one passes this.
        max_size=1333,
        # choice: one of the lengths; range: any between two.
        sample_style="choice",
    ),
    L(T.RandomFlip)(),
]
dataloader.train.mapper.image_format = "BGR"
dataloader.train.num_workers = 4

dataloader.test.dataset = L(VocDataset)(
    root=_ROOT,
    split="test",
    year=2007,
    classes="${...train.dataset.classes}",
    # A test set may lack some classes.
    may_lack_classes=True,
)
dataloader.test.mapper.augmentations = [
    L(T.ResizeShortestEdge)(short_edge_length=600, max_size=1333)
]
