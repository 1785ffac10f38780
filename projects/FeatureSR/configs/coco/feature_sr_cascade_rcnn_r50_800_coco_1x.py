"""FeatureSR on Cascade R-CNN, ResNet-50: a small predictor for each stage, COCO, 12 epochs."""

from lowres_d2.modeling.roi_heads import SuperResolvedCascadeROIHeads

from .....configs.coco.full_cascade_rcnn_r50_800_coco_1x import model as cascade
from .feature_sr_faster_rcnn_fpn_r50_800_coco_1x import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

heads = cascade.detector.roi_heads
heads._target_ = SuperResolvedCascadeROIHeads
heads.super_resolution = model.detector.roi_heads.super_resolution
model.detector.roi_heads = heads
train.init_checkpoint = "output/full_cascade_rcnn_r50_800_coco_1x/model_final.pth"
