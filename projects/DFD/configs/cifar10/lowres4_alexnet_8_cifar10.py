"""Table 1: AlexNet trained on CIFAR-10 of 8x8 pixels, without DFD."""

from .....configs.classification.full_alexnet_32_cifar10 import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)
from ..common.method import degraded

model.resampler = degraded
