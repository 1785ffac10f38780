"""ThumbDet's method on Cascade R-CNN, ResNet-50, 4x, COCO, 12 epochs."""

from lowres_d2.modeling.objectives import ProposalLogitDistillation
from lowres_d2.modeling.resample import LearnedDownsampler

from detectron2.config import LazyCall as L

from .....configs.coco.full_cascade_rcnn_r50_800_coco_1x import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)
from ..common.objectives import features_fpn, loss_weights, moments
from ..common.stages_1x import stages
from ..common.teacher import teacher

logits = L(ProposalLogitDistillation)(stages=[0, 1, 2])

model.resampler = L(LearnedDownsampler)(factor=4)
model.teacher = teacher
model.teacher.checkpoint = "output/full_cascade_rcnn_r50_800_coco_1x/model_final.pth"
model.objectives = [moments, features_fpn, logits]
model.loss_weights = loss_weights
train.student_from_teacher = True
train.init_checkpoint = ""
train.stages = stages
