"""Table 5: the downsampler is frozen after stage one."""

from .learned4_deformable_detr_small_64_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

train.stages[1].name = "detector"
train.stages[1].trainable = ["detector.*"]
train.stages[1].losses = ["detector"]
