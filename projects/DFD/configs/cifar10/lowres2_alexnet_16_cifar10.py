"""Table 1: AlexNet trained on CIFAR-10 of 16x16 pixels, without DFD."""

from .lowres4_alexnet_8_cifar10 import dataloader, lr_multiplier, model, optimizer, train

model.resampler.factor = 2
