"""Pascal VOC: 2007 and 2012 trainval, tested on 2007 test; see datasets/README.md."""

from lowres_d2.data.datasets import VocDataset

from detectron2.config import LazyCall as L

from .coco import dataloader

# Folder with VOC2007 and VOC2012 in it.
_ROOT = "${oc.env:DETECTRON2_DATASETS,datasets}"

dataloader.train.dataset = L(VocDataset)(root=_ROOT, split="trainval", year=[2007, 2012])
dataloader.train.mapper.augmentations[0].short_edge_length = [480, 512, 544, 576, 608, 640]
dataloader.train.filter_empty = False

dataloader.test.dataset = L(VocDataset)(root=_ROOT, split="test", year=2007)
dataloader.test.mapper.augmentations[0].short_edge_length = 600

# VOC has no masks: objects are sized by their boxes.
dataloader.evaluator.area = "box"
dataloader.evaluator.max_dets = None
