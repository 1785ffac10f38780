"""The small FCOS with a bottom-heavy backbone on your images, for tiny objects."""

from ...projects.BottomHeavy.configs.quick.bh_fcos_small_256_tiny import (
    lr_multiplier,
    model,
    optimizer,
    train,
)
from .full_fcos_small_own import data, dataloader, num_classes

model.detector.num_classes = num_classes
train.max_iter = 1000
train.eval_period = 500
train.checkpointer.period = 250
