"""DFD in the second half of the run, after training on images of 8x8 pixels without it."""

from ..common.method import pretrained_student
from .dfd4_resnet18_small_8_plates import dataloader, lr_multiplier, model, optimizer, train

train.stages = pretrained_student
