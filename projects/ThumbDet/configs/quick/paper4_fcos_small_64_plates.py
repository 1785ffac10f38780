"""Learned thumbnails, 64x64, and the paper's plain distillation: Eq. 6 to 8 and Algorithm 1."""

from ..common.method_quick import dense_logits, features_fpn, loss_weights
from .learned4_fcos_small_64_plates import dataloader, lr_multiplier, model, optimizer, train

model.objectives += [features_fpn, dense_logits]
model.objectives[2].form = "softmax"
model.loss_weights = loss_weights
# Stem and res2 are frozen, as the teacher's.
train.stages[1].eval_modules = ["*.bottom_up.stem*", "*.bottom_up.res2*"]
train.stages[1].trainable = [
    "resampler.*",
    "detector.backbone.bottom_up.res[345].*",
    "detector.backbone.fpn_*",
    "detector.head.*",
]
