"""A narrow VGG-16 on images of 8x8 pixels, without DFD."""

from ..common.method import degraded
from .full_vgg16_small_32_plates import dataloader, lr_multiplier, model, optimizer, train

model.resampler = degraded
