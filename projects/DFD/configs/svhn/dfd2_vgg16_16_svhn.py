"""Table 1: DFD, VGG-16, SVHN of 16x16 pixels."""

from .dfd4_vgg16_8_svhn import dataloader, lr_multiplier, model, optimizer, train

model.resampler.factor = 2
