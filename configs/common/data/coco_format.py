"""Your own data: a folder in COCO's, YOLO's or VOC's form, or two COCO json files.

Recipes import ``data`` and ``dataloader``; the command line says data.path=FOLDER, or
data.train_json=FILE and data.val_json=FILE.
"""

from lowres_d2.data.folders import count_own_classes, own_dataset

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T

from .loaders import dataloader

data = dict(
    # Folder of a data set, whose form is recognised: COCO json files, YOLO's data.yaml with its
    # labels (or that file itself), or VOC's xml files.
    path=None,
    # The one that is meant where the folder has several: coco, yolo or voc.
    format=None,
    # Its splits to train on and to evaluate on; null: train, and val, or test where there is none.
    train_split=None,
    val_split=None,
    # Share of the images to evaluate on, of a folder that says of none what it is for.
    held_out=None,
    # In place of a folder: COCO annotations to train on and to evaluate on.
    train_json=None,
    val_json=None,
    # Folders of their images; null: searched for beside the json files.
    train_images=None,
    val_images=None,
    # Classes to use, in this order, such as [cat,dog]; null: all of the training set's.
    classes=None,
    # Boxes without area or outside of their image: error or skip.
    invalid_boxes="error",
    # Folder that keeps sizes of images between runs, where no annotations have them; '': none.
    cache="output/image_sizes",
)

dataloader.train.dataset = L(own_dataset)(
    path="${data.path}",
    split="${data.train_split}",
    format="${data.format}",
    held_out="${data.held_out}",
    json_file="${data.train_json}",
    image_root="${data.train_images}",
    classes="${data.classes}",
    invalid_boxes="${data.invalid_boxes}",
    cache="${data.cache}",
)
# Remove the flip if left and right differ (digits, arrows).
dataloader.train.mapper.augmentations = [
    # Length of the shorter side, unless the longer one passes max_size.
    L(T.ResizeShortestEdge)(short_edge_length=480, max_size=800),
    L(T.RandomFlip)(),
]
dataloader.train.total_batch_size = 8

dataloader.test.dataset = L(own_dataset)(
    path="${data.path}",
    split="${data.val_split}",
    evaluated=True,
    format="${data.format}",
    held_out="${data.held_out}",
    json_file="${data.val_json}",
    image_root="${data.val_images}",
    classes="${data.classes}",
    invalid_boxes="${data.invalid_boxes}",
    # A test set may lack some of data.classes.
    may_lack_classes=True,
    cache="${data.cache}",
)
dataloader.test.mapper.augmentations = [
    L(T.ResizeShortestEdge)(short_edge_length=480, max_size=800)
]

# For the model's num_classes.
num_classes = L(count_own_classes)(
    path="${data.path}",
    split="${data.train_split}",
    format="${data.format}",
    json_file="${data.train_json}",
    classes="${data.classes}",
    held_out="${data.held_out}",
)
