"""The paper taken literally: random initial downsampler, features compared by interpolation."""

from ..coco.thumbdet4_deformable_detr_r50_200_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.resampler.init = "random"
model.objectives[1].alignment = "interpolate"
