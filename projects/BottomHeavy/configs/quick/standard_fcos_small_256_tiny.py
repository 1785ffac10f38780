"""The small FCOS with the bottom-heavy one's standard twin as its backbone, tiny plates."""

from .....configs.common.data.plates_tiny import dataloader as tiny
from .....configs.common.models.bottom_heavy import small
from .....configs.quick.full_fcos_small_256_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

dataloader.train.dataset = tiny.train.dataset
dataloader.test.dataset = tiny.test.dataset
dataloader.evaluator.size_ranges = tiny.evaluator.size_ranges

model.detector.backbone.bottom_up = small

# Of the benchmark's 35 core-minutes a detector takes up to eight.
train.max_iter = 1500
train.eval_period = 0
