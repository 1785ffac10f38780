"""FeatureSR on Faster R-CNN FPN, ResNet-50: proposals under 96 x 96 px, COCO, 12 epochs."""

from copy import deepcopy

from lowres_d2.modeling.meta_arch import SuperResolvedRCNN
from lowres_d2.modeling.roi_heads import SuperResolvedStandardROIHeads

from .....configs.coco.full_faster_rcnn_fpn_r50_800_coco_1x import dataloader, model, train
from ..common.adamw_1x import lr_multiplier, optimizer
from ..common.adamw_1x import stages_fpn as stages
from ..common.method import loss_weights, super_resolution

model.detector._target_ = SuperResolvedRCNN
heads = model.detector.roi_heads
heads._target_ = SuperResolvedStandardROIHeads

# The earliest features that the heads know are the pyramid's finest level. Regions under 112 px are
# pooled from it anyway, so that both parts of the generator's input are the same here.
super_resolution.generator.base_channels = 256
super_resolution.generator.sub_channels = 256
super_resolution.sub_in_features = ["p2"]
super_resolution.sub_pooler = deepcopy(heads.box_pooler)
super_resolution.sub_pooler.scales = [1 / 4]
heads.super_resolution = super_resolution

model.loss_weights = loss_weights
train.init_checkpoint = "output/full_faster_rcnn_fpn_r50_800_coco_1x/model_final.pth"
train.stages = stages
