"""ThumbDet's method on Faster R-CNN C4, ResNet-50, 4x, COCO, 12 epochs."""

from .....configs.coco.full_faster_rcnn_c4_r50_800_coco_1x import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)
from ..common.method import (
    downsampler,
    features,
    loss_weights,
    moments,
    proposal_logits,
    teacher,
)
from ..common.sgd_1x import downsampler_rate, stages

model.resampler = downsampler
model.objectives = [moments, features, proposal_logits]
# res5 works on pooled regions, not on the image.
del model.objectives[1].pairs[2]
model.objectives[2].pooler = "roi_heads.pooler"
model.loss_weights = loss_weights
model.teacher = teacher
model.teacher.checkpoint = "output/full_faster_rcnn_c4_r50_800_coco_1x/model_final.pth"
train.student_from_teacher = True
train.init_checkpoint = ""
train.stages = stages
optimizer.params.base_lr = "${..lr}"
optimizer.params.lr_factor_func = downsampler_rate
