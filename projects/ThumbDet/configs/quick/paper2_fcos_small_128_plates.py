"""Learned thumbnails, 128x128, and the paper's plain distillation."""

from .paper4_fcos_small_64_plates import dataloader, lr_multiplier, model, optimizer, train

model.resampler.factor = 2
