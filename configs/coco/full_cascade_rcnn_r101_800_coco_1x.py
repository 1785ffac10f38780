"""Cascade R-CNN, ResNet-101, full resolution, COCO, 12 epochs."""

from ..common.models.resnet import stages_r101, weights_r101
from .full_cascade_rcnn_r50_800_coco_1x import dataloader, lr_multiplier, model, optimizer, train

model.detector.backbone.bottom_up.stages = stages_r101
train.init_checkpoint = weights_r101
