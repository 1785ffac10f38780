"""ThumbDet, 2x, 110 epochs."""

from .thumbdet4_deformable_detr_r50_200_coco_110ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.resampler.factor = 2
