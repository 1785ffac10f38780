"""Table 1: VGG-16 trained on SVHN of 16x16 pixels, without DFD."""

from .lowres4_vgg16_8_svhn import dataloader, lr_multiplier, model, optimizer, train

model.resampler.factor = 2
