"""ThumbDet, 4x, on your images: distilled from a run of full_fcos_small_own, the teacher."""

from ...projects.ThumbDet.configs.common.method_quick import dense_logits, labels_alone
from ...projects.ThumbDet.configs.quick.learned4_fcos_small_64_plates import (
    lr_multiplier,
    model,
    optimizer,
    train,
)
from .full_fcos_small_own import data, dataloader, num_classes

model.detector.num_classes = num_classes
# A run's folder stands for its best weights.
model.teacher.checkpoint = "output/full_fcos_small_own"
# Logits alone: on photographs, features and thumbnail losses cost AP in place of adding it.
model.objectives.append(dense_logits)
model.loss_weights = dict(logit=1.0)

train.stages.append(labels_alone)
train.max_iter = 1000
train.eval_period = 500
