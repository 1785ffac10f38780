"""CIFAR-100, in ``$DETECTRON2_DATASETS/cifar-100-python``: see datasets/README.md."""

from lowres_d2.data.classification import Cifar100

from detectron2.config import LazyCall as L

from .arrays import dataloader

dataloader.train.dataset = L(Cifar100)(
    # Folder that the archive was unpacked in.
    root="${oc.env:DETECTRON2_DATASETS,datasets}",
    # train: 50,000 images; test: 10,000.
    split="train",
    # Whether its 20 superclasses are the classes, and not the 100.
    coarse=False,
)
dataloader.test.dataset = L(Cifar100)(
    root="${...train.dataset.root}", split="test", coarse="${...train.dataset.coarse}"
)
