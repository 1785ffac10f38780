"""Learned thumbnails, 64x64, and distillation: the best one here, beyond the paper's own form."""

from ..common.method_quick import dense_logits, features_fpn, labels_alone, thumbnail_features
from .learned4_fcos_small_64_plates import dataloader, lr_multiplier, model, optimizer, train

model.objectives += [features_fpn, thumbnail_features, dense_logits]
model.loss_weights = dict(feature=0.9, thumbnail=3.0, logit=1.0)
train.stages.append(labels_alone)
