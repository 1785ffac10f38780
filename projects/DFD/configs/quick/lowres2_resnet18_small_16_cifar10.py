"""A narrow ResNet-18 on CIFAR-10 of 16x16 pixels, without DFD."""

from .lowres4_resnet18_small_8_cifar10 import dataloader, lr_multiplier, model, optimizer, train

model.resampler.factor = 2
