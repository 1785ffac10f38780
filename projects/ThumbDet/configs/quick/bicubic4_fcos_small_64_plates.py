"""Bicubic thumbnails, 64x64; the detector starts as its teacher. What all students here share."""

from copy import deepcopy

from lowres_d2.modeling.resample import Bicubic
from lowres_d2.modeling.teacher import Teacher

from detectron2.config import LazyCall as L

from .full_fcos_small_256_plates import dataloader, lr_multiplier, model, optimizer, train

model.resampler = L(Bicubic)(factor=4)
model.teacher = L(Teacher)(
    model=deepcopy(model.detector),
    checkpoint="output/teacher_fcos_small_256_plates/model_final.pth",
)
train.init_checkpoint = ""
train.student_from_teacher = True
