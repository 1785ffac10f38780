"""ThumbDet's method on Cascade R-CNN, ResNet-50, 4x, COCO, 12 epochs."""

from .....configs.coco.full_cascade_rcnn_r50_800_coco_1x import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)
from ..common.method import (
    downsampler,
    features_fpn,
    loss_weights,
    moments,
    proposal_logits,
    teacher,
)
from ..common.sgd_1x import downsampler_rate, stages

model.resampler = downsampler
model.objectives = [moments, features_fpn, proposal_logits]
model.objectives[2].stages = [0, 1, 2]
model.loss_weights = loss_weights
model.teacher = teacher
model.teacher.checkpoint = "output/full_cascade_rcnn_r50_800_coco_1x/model_final.pth"
train.student_from_teacher = True
train.init_checkpoint = ""
train.stages = stages
optimizer.params.base_lr = "${..lr}"
optimizer.params.lr_factor_func = downsampler_rate
