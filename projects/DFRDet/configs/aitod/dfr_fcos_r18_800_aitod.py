"""Tables 1 and 2, AI-TOD: FCOS, ResNet-18, DFR-Det."""

from ..common.method import loss_weights, refinement
from .one_bit_fcos_r18_800_aitod import dataloader, lr_multiplier, model, optimizer, train

model.objectives = [*model.objectives, refinement]
model.loss_weights = loss_weights
