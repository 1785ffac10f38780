"""FeatureSR on Faster R-CNN C4, MobileNet: proposals under 96 x 96 px, VOC 2007 + 2012."""

from ..coco.feature_sr_faster_rcnn_c4_mobilenetv1_800_coco_1x import model
from .base_faster_rcnn_c4_mobilenetv1_600_voc import dataloader
from .feature_sr_faster_rcnn_c4_r50_600_voc import lr_multiplier, optimizer, train

model.detector.roi_heads.num_classes = 20
train.init_checkpoint = "output/base_faster_rcnn_c4_mobilenetv1_600_voc/model_final.pth"
