"""Learned thumbnails, 128x128, without distillation."""

from .learned4_fcos_small_64_plates import dataloader, lr_multiplier, model, optimizer, train

model.resampler.factor = 2
