"""Learned thumbnails, 64x64, without distillation: two stages, as the paper's Algorithm 2."""

from lowres_d2.engine.stages import Stage
from lowres_d2.modeling.objectives import MomentMatching
from lowres_d2.modeling.resample import LearnedDownsampler

from detectron2.config import LazyCall as L

from .bicubic4_fcos_small_64_plates import dataloader, lr_multiplier, model, optimizer, train

model.resampler = L(LearnedDownsampler)(factor=4)
model.objectives = [L(MomentMatching)()]
train.stages = [
    L(Stage)(name="thumbnail", iterations=50, trainable=["resampler.*"], losses=["moments"]),
    L(Stage)(name="all"),
]
