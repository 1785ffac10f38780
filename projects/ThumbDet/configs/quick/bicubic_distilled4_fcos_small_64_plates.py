"""Bicubic thumbnails, 64x64, with the distillation that needs no learned downsampler."""

from lowres_d2.engine.stages import Stage

from detectron2.config import LazyCall as L

from ..common.method_quick import dense_logits, features_fpn, labels_alone
from .bicubic4_fcos_small_64_plates import dataloader, lr_multiplier, model, optimizer, train

model.objectives = [features_fpn, dense_logits]
model.loss_weights = dict(feature=0.9, logit=1.0)
train.stages = [L(Stage)(name="distillation"), labels_alone]
