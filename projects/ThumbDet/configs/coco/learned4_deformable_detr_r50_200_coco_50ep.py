"""Deformable DETR on learned thumbnails, 4x, in two stages, without distillation (Tables 4, 5)."""

from lowres_d2.modeling.resample import LearnedDownsampler

from detectron2.config import LazyCall as L

from ..common.detr_50ep import stages
from ..common.objectives import moments
from .full_deformable_detr_r50_800_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.resampler = L(LearnedDownsampler)(factor=4)
model.objectives = [moments]
train.stages = stages
# As the authors' code has it, whose down-sampler is a part of the backbone.
optimizer.params.lr_factor_func.factors.resampler = 0.1
