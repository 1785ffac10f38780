"""DFD in the second half of the run, after training on 8x8 pixels without it; ResNet-18."""

from ..common.method import pretrained_student
from .dfd4_resnet18_8_cifar10 import dataloader, lr_multiplier, model, optimizer, train

train.stages = pretrained_student
