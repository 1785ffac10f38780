"""ThumbDet's method on RetinaNet, ResNet-50, 4x, COCO, 12 epochs."""

from .....configs.coco.full_retinanet_r50_800_coco_1x import (
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
# Nine anchors per cell, the first cell's at the image's corner.
model.objectives[2].num_anchors = 9
model.objectives[2].anchor_offset = 0.0
model.loss_weights = loss_weights
model.teacher = teacher
model.teacher.checkpoint = "output/full_retinanet_r50_800_coco_1x/model_final.pth"
train.student_from_teacher = True
train.init_checkpoint = ""
train.stages = stages
optimizer.params.base_lr = "${..lr}"
optimizer.params.lr_factor_func = downsampler_rate
