"""The smaller detector of the MACs of 2x at full resolution, distilled from the teacher."""

from .early_distilled_fcos_small_256_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)
from .early_large_fcos_small_256_plates import model as larger

model.detector = larger.detector
for pair, channels in zip(model.objectives[0].pairs, (32, 64, 96), strict=True):
    pair.channels[0] = channels
