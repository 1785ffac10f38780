"""Table 1: ResNet-18 trained on SVHN of 16x16 pixels, without DFD."""

from .lowres4_resnet18_8_svhn import dataloader, lr_multiplier, model, optimizer, train

model.resampler.factor = 2
