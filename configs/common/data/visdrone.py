"""VisDrone-DET, seen by drones, in ``$DETECTRON2_DATASETS/visdrone``: see datasets/README.md."""

from lowres_d2.data.datasets import VisDroneDataset
from lowres_d2.evaluation import VisDroneEvaluator

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T

from .loaders import dataloader

_ROOT = "${oc.env:DETECTRON2_DATASETS,datasets}/visdrone"

dataloader.train.dataset = L(VisDroneDataset)(
    # Folder of the split, with images and annotations in it.
    folder=f"{_ROOT}/VisDrone2019-DET-train",
    # Classes to use, in this order; null: the ten that are scored.
    classes=None,
    # Vehicles of no class: ignore (ignore regions) or leave_out, as in the benchmark's toolkit.
    others="ignore",
    # A few boxes have no area.
    invalid_boxes="skip",
)
dataloader.train.mapper.augmentations = [
    # Most images have 1920 x 1080 pixels or fewer, and objects are small.
    L(T.ResizeShortestEdge)(short_edge_length=800, max_size=1333),
    L(T.RandomFlip)(),
]
dataloader.train.mapper.image_format = "BGR"
# Nothing is labelled in ignored regions.
dataloader.train.mapper.crowds = "blank"
dataloader.train.total_batch_size = 2
dataloader.train.num_workers = 4
# Leave out images without objects.
dataloader.train.filter_empty = True

dataloader.test.dataset = L(VisDroneDataset)(
    folder=f"{_ROOT}/VisDrone2019-DET-val",
    classes="${...train.dataset.classes}",
    others="${...train.dataset.others}",
    invalid_boxes="skip",
)
dataloader.test.mapper.augmentations = [
    L(T.ResizeShortestEdge)(short_edge_length=800, max_size=1333)
]

dataloader.evaluator = L(VisDroneEvaluator)(
    # The ground truth.
    dataset="${..test.dataset}",
    # Size ranges: coco, aitod, tinyperson, or {name: [from, to]} in pixels.
    size_ranges="coco",
    # Detections per image that count, of all classes together.
    max_dets=500,
    # Whether to report the numbers of the benchmark's toolkit, whose rules differ, as well.
    toolkit=True,
    # Where detections and metrics are written.
    output_dir="${train.output_dir}",
)
