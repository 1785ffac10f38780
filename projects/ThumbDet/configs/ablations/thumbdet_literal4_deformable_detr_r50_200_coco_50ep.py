"""The paper taken literally: features compared by interpolation to the teacher's size."""

from ..coco.thumbdet4_deformable_detr_r50_200_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.objectives[1].alignment = "interpolate"
