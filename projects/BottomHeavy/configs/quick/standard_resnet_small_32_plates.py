"""The small FCOS's backbone as a classifier of plates as tiny as those it is to find."""

from .....configs.common.models.bottom_heavy import small
from ....DFD.configs.quick.full_resnet18_small_32_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)
from .standard_fcos_small_256_tiny import model as detector

model.detector.backbone = small
model.detector.feature = "res5"
model.detector.pixel_mean = detector.detector.pixel_mean
model.detector.pixel_std = detector.detector.pixel_std

dataloader.train.dataset.size_range = [4, 16]
dataloader.test.dataset.num_images = 5000
# 38.4 epochs.
train.max_iter = 3000
