"""Table 4: one layer, 5x5 with stride 4."""

from ..coco.learned4_deformable_detr_r50_200_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.resampler.layers = 1
