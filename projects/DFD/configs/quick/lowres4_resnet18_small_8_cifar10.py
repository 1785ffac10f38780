"""A narrow ResNet-18 on CIFAR-10 of 8x8 pixels, without DFD."""

from .full_resnet18_small_32_cifar10 import dataloader
from .lowres4_resnet18_small_8_plates import lr_multiplier, model, optimizer, train

model.detector.num_classes = 10
