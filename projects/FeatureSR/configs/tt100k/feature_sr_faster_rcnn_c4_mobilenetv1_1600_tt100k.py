"""FeatureSR on Faster R-CNN C4, MobileNet: proposals under 32 x 32 px, TT100K at 1600 px."""

from .base_faster_rcnn_c4_mobilenetv1_1600_tt100k import dataloader
from .base_faster_rcnn_c4_mobilenetv1_1600_tt100k import model as base
from .feature_sr_faster_rcnn_c4_r50_1600_tt100k import lr_multiplier, model, optimizer, train

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

train.init_checkpoint = "output/base_faster_rcnn_c4_mobilenetv1_1600_tt100k/model_final.pth"
