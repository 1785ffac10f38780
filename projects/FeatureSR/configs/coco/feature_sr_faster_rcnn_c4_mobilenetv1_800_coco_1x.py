"""FeatureSR on Faster R-CNN C4, MobileNet: proposals under 96 x 96 px, COCO, 12 epochs."""

from .base_faster_rcnn_c4_mobilenetv1_800_coco_1x import dataloader
from .base_faster_rcnn_c4_mobilenetv1_800_coco_1x import model as base
from .feature_sr_faster_rcnn_c4_r50_800_coco_1x import lr_multiplier, model, optimizer, train

detector = base.detector
detector._target_ = model.detector._target_
detector.backbone.out_features = ["res2", "res4"]

heads = model.detector.roi_heads
heads.res5 = detector.roi_heads.res5
heads.box_predictor = detector.roi_heads.box_predictor
heads.super_resolution.generator.base_channels = 512
heads.super_resolution.generator.sub_channels = 128
detector.roi_heads = heads
model.detector = detector

train.init_checkpoint = "output/base_faster_rcnn_c4_mobilenetv1_800_coco_1x/model_final.pth"
