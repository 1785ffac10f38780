"""Tsinghua-Tencent 100K at 1600 px, in ``$DETECTRON2_DATASETS/tt100k``: see datasets/README.md."""

from lowres_d2.data.datasets import TT100K_CLASSES, Tt100kDataset
from lowres_d2.evaluation import SizedF1Evaluator

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T

from .loaders import dataloader

_ROOT = "${oc.env:DETECTRON2_DATASETS,datasets}/tt100k"

dataloader.train.dataset = L(Tt100kDataset)(
    # annotations.json of the data set, or a folder of VOC xml files.
    annotations=f"{_ROOT}/annotations.json",
    # Folder with train and test in it.
    image_root=_ROOT,
    # train, test or other.
    split="train",
    # The benchmark's 45 classes; null: those with more than min_instances signs.
    classes=TT100K_CLASSES,
)
# No flips: mirrored signs and numbers do not exist, and mirrored arrows are other classes.
dataloader.train.mapper.augmentations = [
    # Images have 2048 x 2048 pixels.
    L(T.ResizeShortestEdge)(short_edge_length=1600, max_size=1600)
]
dataloader.train.mapper.image_format = "BGR"
dataloader.train.num_workers = 4
# Leave out images without objects: some have only signs of other classes.
dataloader.train.filter_empty = True

dataloader.test.dataset = L(Tt100kDataset)(
    annotations="${...train.dataset.annotations}",
    image_root="${...train.dataset.image_root}",
    split="test",
    classes="${...train.dataset.classes}",
)
dataloader.test.mapper.augmentations = [
    L(T.ResizeShortestEdge)(short_edge_length=1600, max_size=1600)
]

dataloader.evaluator = L(SizedF1Evaluator)(
    # The ground truth.
    dataset="${..test.dataset}",
    # The benchmark's size ranges, in pixels of the 2048 px image; larger ones are ignored.
    size_ranges=dict(small=[0, 32], medium=[32, 96], large=[96, 400]),
    # Detections under this score do not count for recall, accuracy and F1.
    score_threshold=0.5,
    # Size of an object there: longer_side of its box, as in the benchmark's code, or sqrt_area.
    size_by="longer_side",
    # Where detections and metrics are written.
    output_dir="${train.output_dir}",
)
