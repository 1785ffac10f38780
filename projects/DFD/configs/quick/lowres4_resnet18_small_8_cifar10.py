"""A narrow ResNet-18 on CIFAR-10 of 8x8 pixels, without DFD."""

from ..common.method import degraded
from .full_resnet18_small_32_cifar10 import dataloader, lr_multiplier, model, optimizer, train

model.resampler = degraded
