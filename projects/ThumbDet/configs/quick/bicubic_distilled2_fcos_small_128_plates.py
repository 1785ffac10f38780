"""Bicubic thumbnails, 128x128, with distillation."""

from .bicubic_distilled4_fcos_small_64_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.resampler.factor = 2
