"""DFR-Det: the small FCOS in 1 bit with foreground refinement."""

from ..common.method import loss_weights, refinement
from .one_bit_fcos_small_256_tiny import dataloader, lr_multiplier, model, optimizer, train

refinement.decoder.channels = 32
refinement.decoder.width = 48
model.objectives = [*model.objectives, refinement]
model.loss_weights = loss_weights
