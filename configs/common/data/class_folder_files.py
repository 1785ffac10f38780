"""Photographs to classify, as ImageNet's: a folder for each class, read while training.

Recipes import ``data`` and ``dataloader``; the command line says data.train_folder=FOLDER and
data.val_folder=FOLDER. Small images are faster in memory: ``class_folders``.
"""

from lowres_d2.data.classification import ClassFolderFiles, ClassificationMapper

from detectron2.config import LazyCall as L

from .arrays import dataloader as arrays
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
# As for detection, but for ignore regions and tiles.
train_mapper = dataloader.train.mapper
train_mapper._target_ = ClassificationMapper
del train_mapper.crowds
train_mapper.size = "${data.size}"
# Smallest and largest share of the image's area of the random part that is resized.
train_mapper.scale = [0.08, 1.0]
# Smallest and largest width / height of that part.
train_mapper.ratio = [0.75, 1.3333]
# Whether half of the images are mirrored; not where left and right tell classes apart.
train_mapper.flip = True
# There are no boxes that might not follow.
train_mapper.exif = "apply"
dataloader.train.total_batch_size = 256

dataloader.test.dataset = L(ClassFolderFiles)(
    root="${data.val_folder}",
    classes="${data.classes}",
    # A test set may lack some classes.
    may_lack_classes=True,
)
test_mapper = dataloader.test.mapper
test_mapper._target_ = ClassificationMapper
del test_mapper.windows
test_mapper.size = "${data.size}"
# Length of the shorter side before the middle is cut out; null: 8/7 of the size.
test_mapper.resize = None
dataloader.test.batch_size = 64

dataloader.evaluator = arrays.evaluator
