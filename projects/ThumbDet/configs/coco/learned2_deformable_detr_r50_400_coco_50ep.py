"""Deformable DETR on learned thumbnails, 2x, in two stages, without distillation."""

from .learned4_deformable_detr_r50_200_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.resampler.factor = 2
