"""Your own images to classify: a folder for each class, one of these for training and one to test.

Recipes import ``data`` and ``dataloader``; the command line says data.path=FOLDER, with ``train``
and ``val`` in it, or data.train_folder=FOLDER and data.val_folder=FOLDER.
"""

from lowres_d2.data.classification import ClassFolders
from lowres_d2.data.image import MAX_PIXELS

from detectron2.config import LazyCall as L

from .arrays import dataloader

data = dict(
    # Folder of train and val, or test, which have a folder for each class.
    path=None,
    # In its place: folders of the class folders, to train on and to evaluate on.
    train_folder=None,
    val_folder=None,
    # Height and width that images get: the shorter side is resized, the middle of the longer kept.
    size=32,
    # Classes to use, in this order, such as [cat,dog]; null: all of the training folder's.
    classes=None,
    # An image that cannot be read: error (stop) or skip (leave it out).
    on_broken="error",
    # Values of the files that become 0 and 255; null: 0 and the largest of each file's depth.
    value_range=None,
    # The most pixels that an image may have, against files that would fill the memory.
    max_pixels=MAX_PIXELS,
)

dataloader.train.dataset = L(ClassFolders)(
    root="${data.train_folder}",
    path="${data.path}",
    size="${data.size}",
    classes="${data.classes}",
    on_broken="${data.on_broken}",
    value_range="${data.value_range}",
    max_pixels="${data.max_pixels}",
)
dataloader.test.dataset = L(ClassFolders)(
    root="${data.val_folder}",
    path="${data.path}",
    evaluated=True,
    size="${data.size}",
    classes="${data.classes}",
    # A test set may lack some classes.
    may_lack_classes=True,
    on_broken="${data.on_broken}",
    value_range="${data.value_range}",
    max_pixels="${data.max_pixels}",
)
