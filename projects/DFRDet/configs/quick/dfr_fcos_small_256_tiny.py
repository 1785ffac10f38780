"""DFR-Det: the small FCOS in 1 bit with foreground refinement."""

from lowres_d2.engine.lr_factors import LearningRateFactors

from detectron2.config import LazyCall as L

from ..common.method import loss_weights, refinement
from .one_bit_fcos_small_256_tiny import dataloader, lr_multiplier, model, optimizer, train

refinement.decoder.channels = 32
refinement.decoder.width = 32
refinement.decoder.depth = 1
# A mean over all pixels leaves the images black after 400 iterations, whatever the features are.
refinement.reduction = "per_region"
model.objectives = [*model.objectives, refinement]
model.loss_weights = loss_weights
optimizer.params.base_lr = "${..lr}"
# Its images need smaller steps than the detector: with Adam, each weight takes full ones.
optimizer.params.lr_factor_func = L(LearningRateFactors)(factors=dict(objectives=0.1))
