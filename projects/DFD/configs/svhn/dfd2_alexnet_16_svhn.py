"""Table 1: DFD, AlexNet, SVHN of 16x16 pixels."""

from .dfd4_alexnet_8_svhn import dataloader, lr_multiplier, model, optimizer, train

model.resampler.factor = 2
