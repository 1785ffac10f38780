"""Bicubic thumbnails, 64x64; the detector starts as its teacher. The base of all students here."""

from lowres_d2.modeling.resample import Bicubic

from detectron2.config import LazyCall as L

from ..common.method import teacher
from .full_fcos_small_256_plates import dataloader, lr_multiplier, model, optimizer, train

model.resampler = L(Bicubic)(factor=4)
model.teacher = teacher
model.teacher.checkpoint = train.init_checkpoint
train.init_checkpoint = ""
train.student_from_teacher = True
