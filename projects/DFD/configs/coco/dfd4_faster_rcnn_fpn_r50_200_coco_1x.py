"""DFD on Faster R-CNN FPN, ResNet-50, COCO's images degraded 4x, 12 epochs."""

from ..common.detection import features_fpn, loss_weights
from ..common.method import teacher
from .lowres4_faster_rcnn_fpn_r50_200_coco_1x import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.teacher = teacher
model.teacher.checkpoint = "${train.init_checkpoint}"
model.objectives = [features_fpn]
model.loss_weights = loss_weights
