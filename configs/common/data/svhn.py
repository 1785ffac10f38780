"""SVHN's cropped digits, in ``$DETECTRON2_DATASETS/svhn``: see datasets/README.md."""

from lowres_d2.data.classification import SVHN

from detectron2.config import LazyCall as L

from .arrays import dataloader

dataloader.train.dataset = L(SVHN)(
    # Folder that has the folder svhn.
    root="${oc.env:DETECTRON2_DATASETS,datasets}",
    # train: 73,257 images; test: 26,032; extra: 531,131 simpler ones.
    split="train",
)
dataloader.test.dataset = L(SVHN)(root="${...train.dataset.root}", split="test")
