"""AI-TOD, tiny objects in aerial images, in ``$DETECTRON2_DATASETS/aitod``: datasets/README.md."""

from lowres_d2.data.datasets import CocoDataset

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T

from .loaders import dataloader

_ROOT = "${oc.env:DETECTRON2_DATASETS,datasets}/aitod"

dataloader.train.dataset = L(CocoDataset)(
    # Ground truth, a COCO json file; that of the first version has 700,621 objects in all.
    json_file=f"{_ROOT}/annotations/aitod_trainval_v1.json",
    # Folder of the images.
    image_root=f"{_ROOT}/images/trainval",
    # Classes to use, in this order.
    classes=[
        "airplane",
        "bridge",
        "storage-tank",
        "ship",
        "swimming-pool",
        "vehicle",
        "person",
        "wind-mill",
    ],
    # A few boxes may have no area.
    invalid_boxes="skip",
)
dataloader.train.mapper.augmentations = [
    # All images have 800 x 800 pixels.
    L(T.ResizeShortestEdge)(short_edge_length=800, max_size=800),
    L(T.RandomFlip)(),
]
dataloader.train.total_batch_size = 2
dataloader.train.num_workers = 4
# Leave out images without objects.
dataloader.train.filter_empty = True

dataloader.test.dataset = L(CocoDataset)(
    json_file=f"{_ROOT}/annotations/aitod_test_v1.json",
    image_root=f"{_ROOT}/images/test",
    classes="${...train.dataset.classes}",
    invalid_boxes="skip",
)
dataloader.test.mapper.augmentations = [
    L(T.ResizeShortestEdge)(short_edge_length=800, max_size=800)
]

# As the benchmark's own evaluation: its densest images have more objects than detections count.
dataloader.evaluator.size_ranges = "aitod"
dataloader.evaluator.max_dets = 1500
dataloader.evaluator.olrp = True
