"""Bicubic thumbnails, 64x64, with the distillation that can be had without a down-sampler."""

from ..common.method_quick import features_fpn
from .bicubic4_fcos_small_64_plates import dataloader, lr_multiplier, model, optimizer, train

model.objectives = [features_fpn]
model.loss_weights = dict(feature=0.3)
