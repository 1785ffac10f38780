"""FeatureSR on your images, from a run of base_faster_rcnn_small_own."""

from ...projects.FeatureSR.configs.quick.feature_sr_faster_rcnn_small_256_plates import (
    lr_multiplier,
    model,
    optimizer,
    train,
)
from .full_fcos_small_own import data, dataloader, num_classes

model.detector.roi_heads.num_classes = num_classes
# A run's folder stands for its best weights.
train.init_checkpoint = "output/base_faster_rcnn_small_own"
train.max_iter = 1000
