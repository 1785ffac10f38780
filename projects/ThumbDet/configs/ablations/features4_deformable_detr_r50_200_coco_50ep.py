"""Components: learned thumbnails and feature distillation, no logits."""

from ..coco.thumbdet4_deformable_detr_r50_200_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

del model.objectives[2]
del model.loss_weights.logit
