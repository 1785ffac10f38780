"""FeatureSR on Faster R-CNN C4, ResNet-50: proposals under 96 x 96 px, VOC 2007 + 2012."""

from .....configs.common.data.voc import dataloader
from ..coco.feature_sr_faster_rcnn_c4_r50_800_coco_1x import lr_multiplier, model, optimizer, train

model.detector.roi_heads.num_classes = 20
train.init_checkpoint = "output/base_faster_rcnn_c4_r50_600_voc/model_final.pth"
# 16 of 16,551 images per iteration: 11.6 epochs, then 5.8.
train.max_iter = 18000
train.eval_period = 3000
