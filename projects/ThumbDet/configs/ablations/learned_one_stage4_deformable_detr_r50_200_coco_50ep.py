"""Table 5: downsampler and detector trained together from the first iteration."""

from ..coco.learned4_deformable_detr_r50_200_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

train.stages = []
