"""ThumbDet, 2x."""

from .thumbdet4_deformable_detr_r50_200_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.resampler.factor = 2
