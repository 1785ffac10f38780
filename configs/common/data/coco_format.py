"""Your own data: two COCO json files, and their images beside them.

Recipes import ``data`` and ``dataloader``; the command line says data.train_json=FILE and
data.val_json=FILE.
"""

from lowres_d2.data.datasets import CocoDataset

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T

from .loaders import dataloader

data = dict(
    # Annotations to train on and to evaluate on.
    train_json="datasets/own/train.json",
    val_json="datasets/own/val.json",
    # Folders of their images; null: searched for beside the json files.
    train_images=None,
    val_images=None,
    # Classes to use, in this order, such as [cat,dog]; null: all of the training set's.
    classes=None,
    # Boxes without area or outside of their image: error or skip.
    invalid_boxes="error",
)

dataloader.train.dataset = L(CocoDataset)(
    json_file="${data.train_json}",
    image_root="${data.train_images}",
    classes="${data.classes}",
    invalid_boxes="${data.invalid_boxes}",
)
# Remove the flip if left and right differ (digits, arrows).
dataloader.train.mapper.augmentations = [
    # Length of the shorter side, unless the longer one passes max_size.
    L(T.ResizeShortestEdge)(short_edge_length=480, max_size=800),
    L(T.RandomFlip)(),
]
dataloader.train.total_batch_size = 8

dataloader.test.dataset = L(CocoDataset)(
    json_file="${data.val_json}",
    image_root="${data.val_images}",
    classes="${data.classes}",
    invalid_boxes="${data.invalid_boxes}",
    # A test set may lack some of data.classes.
    may_lack_classes=True,
)
dataloader.test.mapper.augmentations = [
    L(T.ResizeShortestEdge)(short_edge_length=480, max_size=800)
]
