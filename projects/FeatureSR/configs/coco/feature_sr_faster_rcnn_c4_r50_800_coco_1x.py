"""FeatureSR on Faster R-CNN C4, ResNet-50: proposals under 96 x 96 px, COCO, 12 epochs."""

from copy import deepcopy

from lowres_d2.modeling.meta_arch import SuperResolvedRCNN
from lowres_d2.modeling.roi_heads import SuperResolvedRes5ROIHeads

from .....configs.coco.full_faster_rcnn_c4_r50_800_coco_1x import dataloader, model, train
from ..common.adamw_1x import lr_multiplier, optimizer, stages
from ..common.method import loss_weights, super_resolution

detector = model.detector
detector._target_ = SuperResolvedRCNN
detector.backbone.out_features = ["res2", "res4"]

heads = detector.roi_heads
heads._target_ = SuperResolvedRes5ROIHeads
super_resolution.sub_pooler = deepcopy(heads.pooler)
super_resolution.sub_pooler.scales = [1 / 4]
heads.super_resolution = super_resolution

model.loss_weights = loss_weights
train.init_checkpoint = "output/full_faster_rcnn_c4_r50_800_coco_1x/model_final.pth"
train.stages = stages
