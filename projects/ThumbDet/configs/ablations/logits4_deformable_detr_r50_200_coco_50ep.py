"""Table 3, third row: learned thumbnails and filtered logit distillation, no features."""

from ..coco.thumbdet4_deformable_detr_r50_200_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

del model.objectives[1]
del model.loss_weights.feature
