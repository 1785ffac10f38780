"""Deformable DETR on learned thumbnails, 4x, in two stages, no distillation (Tables 3 to 5)."""

from ..common.detr_50ep import stages
from ..common.method import downsampler, moments
from .full_deformable_detr_r50_800_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.resampler = downsampler
# Algorithm 2. From a box filter, one, two and five layers would start as the same function, and
# stage one would have nothing to learn.
model.resampler.init = "random"
model.objectives = [moments]
train.stages = stages
# As in the authors' code, where the downsampler is a part of the backbone.
optimizer.params.lr_factor_func.factors.resampler = 0.1
