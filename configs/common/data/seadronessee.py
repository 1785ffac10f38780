"""SeaDronesSee, seen by drones in open water, in ``$DETECTRON2_DATASETS/seadronessee``."""

from lowres_d2.data.datasets import SeaDronesSeeDataset

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T

from .loaders import dataloader

_ROOT = "${oc.env:DETECTRON2_DATASETS,datasets}/seadronessee"

dataloader.train.dataset = L(SeaDronesSeeDataset)(
    # Ground truth, a COCO json file.
    json_file=f"{_ROOT}/annotations/instances_train.json",
    # Folder of the images.
    image_root=f"{_ROOT}/images/train",
    # Classes to use, in this order; null: the data set's five.
    classes=None,
)
dataloader.train.mapper.augmentations = [
    # Images have up to 5456 x 3632 pixels.
    L(T.ResizeShortestEdge)(short_edge_length=1080, max_size=1920),
    L(T.RandomFlip)(),
]
dataloader.train.mapper.image_format = "BGR"
dataloader.train.mapper.crowds = "blank"
dataloader.train.total_batch_size = 2
dataloader.train.num_workers = 4
# Leave out images without objects.
dataloader.train.filter_empty = True

dataloader.test.dataset = L(SeaDronesSeeDataset)(
    json_file=f"{_ROOT}/annotations/instances_val.json",
    image_root=f"{_ROOT}/images/val",
    classes="${...train.dataset.classes}",
)
dataloader.test.mapper.augmentations = [
    L(T.ResizeShortestEdge)(short_edge_length=1080, max_size=1920)
]

# As the benchmark's server: COCO's own.
dataloader.evaluator.max_dets = 100
