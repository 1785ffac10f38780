"""Table 1: AlexNet trained on SVHN of 8x8 pixels, without DFD."""

from ..common.method import degraded
from .full_alexnet_32_svhn import dataloader, lr_multiplier, model, optimizer, train

model.resampler = degraded
