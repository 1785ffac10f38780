"""Learned thumbnails, 64x64, without distillation, in the two stages of the paper's Algorithm 2."""

from lowres_d2.engine.lr_factors import LearningRateFactors

from detectron2.config import LazyCall as L

from ..common.method import downsampler, moments
from ..common.stages_1x import stages
from .bicubic4_fcos_small_64_plates import dataloader, lr_multiplier, model, optimizer, train

model.resampler = downsampler
model.objectives = [moments]
optimizer.params.base_lr = "${..lr}"
# Its few weights start from box filters: they have farther to go than the detector's.
optimizer.params.lr_factor_func = L(LearningRateFactors)(factors=dict(resampler=2.0))
train.stages = stages
train.stages[0].iterations = 0.025  # of the run: 50 of 2000 iterations
# The recipe's own learning-rate curve.
train.stages[0].schedule = None
