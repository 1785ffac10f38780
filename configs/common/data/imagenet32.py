"""ImageNet at 32x32, in ``$DETECTRON2_DATASETS/imagenet32``: see datasets/README.md."""

from lowres_d2.data.classification import ImageNet32

from detectron2.config import LazyCall as L

from .arrays import dataloader

dataloader.train.dataset = L(ImageNet32)(
    # Folder that has the folder imagenet32.
    root="${oc.env:DETECTRON2_DATASETS,datasets}",
    # train: 1,281,167 images, 3.9 GB in memory; val: 50,000.
    split="train",
)
dataloader.test.dataset = L(ImageNet32)(root="${...train.dataset.root}", split="val")
