"""Faster R-CNN C4, ResNet-101, full resolution, COCO, 12 epochs."""

from ..common.models.resnet import stages_r101, weights_r101
from .full_faster_rcnn_c4_r50_800_coco_1x import dataloader, lr_multiplier, model, optimizer, train

# res2 to res4; res5 is the box head.
model.detector.backbone.stages = stages_r101
train.init_checkpoint = weights_r101
