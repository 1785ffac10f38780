"""Table 3, third row: filtered logits distilled, no features."""

from .thumbdet4_deformable_detr_small_64_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

del model.objectives[1]
del model.loss_weights.feature
