"""Photographs to classify, as ImageNet's: a folder for each class, read while training.

Recipes import ``data`` and ``dataloader``; the command line says data.train_folder=FOLDER and
data.val_folder=FOLDER. Small images are faster in memory: ``class_folders``.
"""

from lowres_d2.data.classification import ClassFolderFiles, ClassificationMapper
from lowres_d2.data.image import MAX_PIXELS
from lowres_d2.evaluation import ClassificationEvaluator

from detectron2.config import LazyCall as L

from .loaders import dataloader

data = dict(
    # Folders of the class folders, to train on and to evaluate on.
    train_folder="${oc.env:DETECTRON2_DATASETS,datasets}/imagenet/train",
    val_folder="${oc.env:DETECTRON2_DATASETS,datasets}/imagenet/val",
    # Height and width that images get.
    size=224,
    # Classes to use, in this order, such as [cat,dog]; null: all of the training folder's.
    classes=None,
)

dataloader.train.dataset = L(ClassFolderFiles)(
    root="${data.train_folder}", classes="${data.classes}"
)
dataloader.train.mapper = L(ClassificationMapper)(
    is_train=True,
    size="${data.size}",
    # Smallest and largest share of the image's area of the random part that is resized.
    scale=[0.08, 1.0],
    # Smallest and largest width / height of that part.
    ratio=[0.75, 1.3333],
    # Whether half of the images are mirrored; not where left and right tell classes apart.
    flip=True,
    # Detectron2's augmentations that follow, in this order.
    augmentations=[],
    # Channels, the same as in the model's pixel_mean.
    image_format="RGB",
    # Values of the files that become 0 and 255; null: 0 and the largest of each file's depth.
    value_range=None,
    # The most pixels that an image may have, against files that would fill the memory.
    max_pixels=MAX_PIXELS,
    # Images that EXIF rotates: apply (rotated) or ignore.
    exif="apply",
    # With image_format null, how many channels every image must have; null: as the model takes.
    channels=None,
    # An image that cannot be read: error (stop) or skip (count it and take the next).
    on_broken="error",
)
dataloader.train.total_batch_size = 256

dataloader.test.dataset = L(ClassFolderFiles)(
    root="${data.val_folder}",
    classes="${data.classes}",
    # A test set may lack some classes.
    may_lack_classes=True,
)
dataloader.test.mapper = L(ClassificationMapper)(
    is_train=False,
    size="${data.size}",
    # Length of the shorter side before the middle is cut out; null: 8/7 of the size.
    resize=None,
    augmentations=[],
    image_format="${...train.mapper.image_format}",
    value_range="${...train.mapper.value_range}",
    max_pixels="${...train.mapper.max_pixels}",
    exif="${...train.mapper.exif}",
    channels="${...train.mapper.channels}",
    on_broken="error",
)
dataloader.test.batch_size = 64

dataloader.evaluator = L(ClassificationEvaluator)(
    # The ground truth.
    dataset="${..test.dataset}",
    # Where predictions and metrics are written.
    output_dir="${train.output_dir}",
)
