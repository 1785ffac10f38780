"""The teacher: the small FCOS at full resolution, 256x256, until it has converged."""

from .....configs.quick.full_fcos_small_256_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

# 8 epochs.
train.max_iter = 2000
train.eval_period = 1000
