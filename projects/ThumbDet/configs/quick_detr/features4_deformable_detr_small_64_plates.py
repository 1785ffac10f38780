"""Features distilled, no logits."""

from .thumbdet4_deformable_detr_small_64_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

del model.objectives[2]
del model.loss_weights.logit
