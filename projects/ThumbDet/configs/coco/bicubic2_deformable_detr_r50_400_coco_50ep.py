"""Deformable DETR, ResNet-50, on images downsampled 2x (bicubic), COCO, 50 epochs."""

from lowres_d2.modeling.resample import Bicubic

from detectron2.config import LazyCall as L

from .full_deformable_detr_r50_800_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.resampler = L(Bicubic)(factor=2)
