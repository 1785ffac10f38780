"""Table 5: the downsampler stays as stage one leaves it."""

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
