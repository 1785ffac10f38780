"""Instead of a 2x thumbnail: a smaller detector at full resolution, as few MACs, from scratch."""

from .early_fcos_small_256_plates import dataloader, lr_multiplier, model, optimizer, train

model.detector.backbone.bottom_up.stem_middle = 12
model.detector.backbone.bottom_up.channels = [24, 32, 64, 96]
model.detector.backbone.out_channels = 32
model.detector.head.conv_dims = [32]
