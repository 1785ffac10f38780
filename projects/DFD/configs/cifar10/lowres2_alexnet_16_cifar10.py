"""Table 1: AlexNet trained on CIFAR-10 of 16x16 pixels, without DFD."""

from .....configs.classification.full_alexnet_32_cifar10 import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)
from ..common.method import degraded

model.resampler = degraded
model.resampler.factor = 2
