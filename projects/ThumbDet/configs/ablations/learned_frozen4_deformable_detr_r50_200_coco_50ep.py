"""Table 5: the downsampler is frozen after stage one."""

from ..coco.learned4_deformable_detr_r50_200_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

train.stages[1].name = "detector"
train.stages[1].trainable = ["detector.*"]
train.stages[1].losses = ["detector"]
