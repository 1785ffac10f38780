"""Table 5, CIFAR-100: BH-ResNet50 as a classifier, with which detectors start."""

from .....configs.classification.full_resnet18_32_cifar100 import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)
from .....configs.common.models.bottom_heavy import bh_resnet50, pixel_mean, pixel_std

model.detector.backbone = bh_resnet50
model.detector.feature = "res5"
model.detector.pixel_mean = pixel_mean
model.detector.pixel_std = pixel_std
