"""Bicubic thumbnails, 64x64; the detector starts as its teacher. What all students here share."""

from lowres_d2.modeling.resample import Bicubic

from detectron2.config import LazyCall as L

from ..common.method import teacher
from .full_fcos_small_256_plates import dataloader, lr_multiplier, model, optimizer, train

model.resampler = L(Bicubic)(factor=4)
model.teacher = teacher
model.teacher.checkpoint = train.init_checkpoint
train.init_checkpoint = ""
# Of 0.001 to 0.008, on the validation part with seed 0: the scale of all objects is new to it.
optimizer.lr = 0.006
train.student_from_teacher = True
