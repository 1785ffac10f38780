"""ResNet-18 on SVHN at full resolution, 32x32: 100 epochs; the teacher."""

from .....configs.classification.full_resnet18_32_cifar10 import (
    lr_multiplier,
    model,
    optimizer,
    train,
)
from .....configs.common.data.svhn import dataloader

# 73,257 images, 128 per iteration: 100 epochs.
train.max_iter = 57233
# Ten epochs.
train.checkpointer.period = 5724
# A fifth of the digits are ones.
train.teacher_check.min_ap = 25.0
