"""DFD in the second half of the run, after training on 8x8 pixels without it; a narrow VGG-16."""

from ..common.method import pretrained_student
from .dfd4_vgg16_small_8_plates import dataloader, lr_multiplier, model, optimizer, train

train.stages = pretrained_student
