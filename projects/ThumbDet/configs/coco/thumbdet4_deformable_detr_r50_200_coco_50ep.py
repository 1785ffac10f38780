"""ThumbDet, 4x: learned thumbnails, Deformable DETR distilled from itself at full resolution."""

from ..common.method import features, loss_weights, query_logits, teacher
from .learned4_deformable_detr_r50_200_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.teacher = teacher
model.teacher.checkpoint = "output/full_deformable_detr_r50_800_coco_50ep/model_final.pth"
model.objectives += [features, query_logits]
model.loss_weights = loss_weights
# Queries are paired by index, which makes sense only for a student that starts as its teacher.
train.student_from_teacher = True
train.init_checkpoint = ""
