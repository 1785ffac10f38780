"""FCOS, ResNet-50, COCO degraded 4x, without DFD; it starts as the teacher."""

from .....configs.coco.full_fcos_r50_800_coco_1x import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)
from ..common.method import degraded

model.resampler = degraded
train.init_checkpoint = "output/full_fcos_r50_800_coco_1x/model_final.pth"
