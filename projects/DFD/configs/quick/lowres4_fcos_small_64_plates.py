"""The small FCOS on images degraded 4x, without DFD; it starts as the teacher."""

from .....configs.quick.full_fcos_small_256_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)
from ..common.method import degraded

model.resampler = degraded
train.init_checkpoint = "output/full_fcos_small_256_plates/model_final.pth"
