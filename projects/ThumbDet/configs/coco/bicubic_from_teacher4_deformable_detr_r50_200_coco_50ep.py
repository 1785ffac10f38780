"""Bicubic thumbnails, 4x, where the detector starts as the teacher: compares with our start."""

from ..common.method import teacher
from .bicubic4_deformable_detr_r50_200_coco_50ep import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.teacher = teacher
model.teacher.checkpoint = "output/full_deformable_detr_r50_800_coco_50ep/model_final.pth"
train.student_from_teacher = True
train.init_checkpoint = ""
