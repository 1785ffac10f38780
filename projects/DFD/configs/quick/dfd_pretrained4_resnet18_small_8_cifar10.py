"""DFD in the second half of the run, after training on CIFAR-10 of 8x8 pixels without it."""

from ..common.method import pretrained_student
from .dfd4_resnet18_small_8_cifar10 import dataloader, lr_multiplier, model, optimizer, train

train.stages = pretrained_student
