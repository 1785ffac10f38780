"""Faster R-CNN FPN, ResNet-50, full resolution, VOC 2007 + 2012 trainval, tested on 2007 test."""

from ..coco.full_faster_rcnn_fpn_r50_800_coco_1x import model, optimizer, train
from ..common.data.voc import dataloader
from ..common.schedule import multistep_voc as lr_multiplier

model.detector.roi_heads.num_classes = 20
train.max_iter = 18000
train.eval_period = 3000
