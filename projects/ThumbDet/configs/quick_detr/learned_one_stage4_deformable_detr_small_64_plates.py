"""Table 5: downsampler and detector trained together from the first iteration."""

from .learned4_deformable_detr_small_64_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

train.stages = []
