"""CIFAR-10, in ``$DETECTRON2_DATASETS/cifar-10-batches-py``: see datasets/README.md."""

from lowres_d2.data.classification import Cifar10

from detectron2.config import LazyCall as L

from .arrays import dataloader

dataloader.train.dataset = L(Cifar10)(
    # Folder that the archive was unpacked in.
    root="${oc.env:DETECTRON2_DATASETS,datasets}",
    # train: 50,000 images; test: 10,000.
    split="train",
)
dataloader.test.dataset = L(Cifar10)(root="${...train.dataset.root}", split="test")
