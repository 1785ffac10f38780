"""ThumbDet's method on FCOS, ResNet-50, 4x, COCO, 12 epochs."""

from .....configs.coco.full_fcos_r50_800_coco_1x import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)
from ..common.method import (
    dense_logits,
    downsampler,
    features_fpn,
    loss_weights,
    moments,
    teacher,
)
from ..common.sgd_1x import downsampler_rate, stages

model.resampler = downsampler
model.objectives = [moments, features_fpn, dense_logits]
model.loss_weights = loss_weights
model.teacher = teacher
model.teacher.checkpoint = "output/full_fcos_r50_800_coco_1x/model_final.pth"
train.student_from_teacher = True
train.init_checkpoint = ""
train.stages = stages
optimizer.params.base_lr = "${..lr}"
optimizer.params.lr_factor_func = downsampler_rate
