"""The paper's losses: features and filtered logits (Tables 3 and 6); stem and res2 are trained."""

from ..common.method import features, loss_weights, query_logits
from .learned4_deformable_detr_small_64_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.objectives += [features, query_logits]
model.loss_weights = loss_weights
