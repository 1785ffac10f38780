"""The base detector: Faster R-CNN C4, ResNet-101, TT100K at 1600 px."""

from .....configs.common.models.resnet import stages_r101, weights_r101
from .base_faster_rcnn_c4_r50_1600_tt100k import dataloader, lr_multiplier, model, optimizer, train

# res2 to res4; res5 is the box head.
model.detector.backbone.stages = stages_r101
train.init_checkpoint = weights_r101
