"""Learned thumbnails in two stages (Tables 3 to 5), without distillation."""

from lowres_d2.engine.lr_factors import LearningRateFactors

from detectron2.config import LazyCall as L

from ..common.method import downsampler, moments
from ..common.stages_1x import stages
from .bicubic4_deformable_detr_small_64_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.resampler = downsampler
# Algorithm 2.
model.resampler.init = "random"
model.objectives = [moments]
optimizer.params.base_lr = "${..lr}"
# Its few weights start far from any filter: they have farther to go than the detector's.
optimizer.params.lr_factor_func = L(LearningRateFactors)(factors=dict(resampler=2.0))
train.stages = stages
