"""Wide thumbnails, 128x128 with 12 channels, of one layer: they hold as many numbers as images."""

from .wide4_fcos_small_64_plates import dataloader, lr_multiplier, model, optimizer, train

model.resampler.factor = 2
model.resampler.layers = 1
