"""COCO 2017, in ``$DETECTRON2_DATASETS/coco`` (``datasets/coco``): see datasets/README.md."""

from lowres_d2.data.datasets import CocoDataset

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T

from .loaders import dataloader

_ROOT = "${oc.env:DETECTRON2_DATASETS,datasets}/coco"

dataloader.train.dataset = L(CocoDataset)(
    # Ground truth, a COCO json file.
    json_file=f"{_ROOT}/annotations/instances_train2017.json",
    # Folder of the images.
    image_root=f"{_ROOT}/train2017",
    # A few of COCO's own boxes have no area.
    invalid_boxes="skip",
)
dataloader.train.mapper.augmentations = [
    L(T.ResizeShortestEdge)(
        # One of these lengths for the shorter side ...
        short_edge_length=[640, 672, 704, 736, 768, 800],
        # ... unless the longer one passes this.
        max_size=1333,
        # choice: one of the lengths; range: any between two.
        sample_style="choice",
    ),
    L(T.RandomFlip)(),
]
dataloader.train.mapper.image_format = "BGR"
dataloader.train.num_workers = 4
# Leave out images without objects, as Detectron2 does on COCO.
dataloader.train.filter_empty = True

dataloader.test.dataset = L(CocoDataset)(
    json_file=f"{_ROOT}/annotations/instances_val2017.json",
    image_root=f"{_ROOT}/val2017",
    invalid_boxes="skip",
)
dataloader.test.mapper.augmentations = [
    L(T.ResizeShortestEdge)(short_edge_length=800, max_size=1333)
]

# COCO's own metrics count the first hundred detections, and size objects by their masks.
dataloader.evaluator.max_dets = 100
dataloader.evaluator.area = "annotation"
