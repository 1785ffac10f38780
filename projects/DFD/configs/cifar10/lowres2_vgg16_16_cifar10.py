"""Table 1: VGG-16 trained on CIFAR-10 of 16x16 pixels, without DFD."""

from .lowres4_vgg16_8_cifar10 import dataloader, lr_multiplier, model, optimizer, train

model.resampler.factor = 2
