"""Table 1: DFD, ResNet-18, CIFAR-10 of 16x16 pixels."""

from .dfd4_resnet18_8_cifar10 import dataloader, lr_multiplier, model, optimizer, train

model.resampler.factor = 2
