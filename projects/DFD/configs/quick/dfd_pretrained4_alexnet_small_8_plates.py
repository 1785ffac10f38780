"""DFD in the second half of the run, after training on 8x8 pixels without it; a narrow AlexNet."""

from ..common.method import pretrained_student
from .dfd4_alexnet_small_8_plates import dataloader, lr_multiplier, model, optimizer, train

train.stages = pretrained_student
