"""ResNet-18 on your images, a folder for each class in train and in val: data.path=..."""

from lowres_d2.data.classification import count_class_folders

from detectron2.config import LazyCall as L

from ..classification.full_resnet18_32_cifar10 import lr_multiplier, model, optimizer, train
from ..common.data.class_folders import data, dataloader

model.detector.num_classes = L(count_class_folders)(
    root="${data.train_folder}", path="${data.path}", classes="${data.classes}"
)

# Remove the flip if left and right differ (digits, arrows).
dataloader.train.flip = True
train.max_iter = 5000
train.eval_period = 500
train.checkpointer.period = 500
