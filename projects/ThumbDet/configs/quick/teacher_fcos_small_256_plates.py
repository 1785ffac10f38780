"""The teacher: the small FCOS at full resolution, 256x256, until it has converged."""

from .....configs.quick.full_fcos_small_256_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

# 12 epochs.
train.max_iter = 3000
train.eval_period = 1000
train.checkpointer.period = 1000
