"""The base detector: Faster R-CNN C4, ResNet-50, VOC 2007 + 2012 trainval, tested on 2007 test."""

from .....configs.coco.full_faster_rcnn_c4_r50_800_coco_1x import model, optimizer, train
from .....configs.common.data.voc import dataloader
from .....configs.common.schedule import multistep_voc as lr_multiplier

model.detector.roi_heads.num_classes = 20
train.max_iter = 18000
train.eval_period = 3000
