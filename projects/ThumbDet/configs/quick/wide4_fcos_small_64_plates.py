"""Wide thumbnails, 64x64 with 12 channels in place of 3 colours, and distillation."""

from copy import deepcopy

from .thumbdet4_fcos_small_64_plates import dataloader, lr_multiplier, model, optimizer, train

CHANNELS = 12

# The teacher sees colours.
model.teacher.model = deepcopy(model.detector)
model.resampler.out_channels = CHANNELS
model.detector.backbone.bottom_up.in_channels = CHANNELS
model.detector.pixel_mean = [115.0] * CHANNELS
model.detector.pixel_std = [64.0] * CHANNELS
model.objectives[2].pairs[0].channels = (CHANNELS, 32)
