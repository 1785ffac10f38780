"""The base detector: Faster R-CNN C4, ResNet-101, VOC 2007 + 2012 trainval, tested on 2007 test."""

from .....configs.common.models.resnet import stages_r101, weights_r101
from .base_faster_rcnn_c4_r50_600_voc import dataloader, lr_multiplier, model, optimizer, train

# res2 to res4; res5 is the box head.
model.detector.backbone.stages = stages_r101
train.init_checkpoint = weights_r101
