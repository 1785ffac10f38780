"""A small Faster R-CNN from scratch on your images: the base detector of FeatureSR."""

from ...projects.FeatureSR.configs.quick.base_faster_rcnn_small_256_plates import (
    lr_multiplier,
    model,
    optimizer,
    train,
)
from .full_fcos_small_own import data, dataloader, num_classes

model.detector.roi_heads.num_classes = num_classes
train.max_iter = 1500
train.eval_period = 500
