"""Proposals under 24 px super-resolved to the atrous twin's features; from the base detector."""

from copy import deepcopy

from lowres_d2.modeling.meta_arch import SuperResolvedRCNN
from lowres_d2.modeling.roi_heads import SuperResolvedRes5ROIHeads

from detectron2.config import LazyCall as L
from fvcore.common.param_scheduler import CosineParamScheduler

from ..common.method import loss_weights, stages, super_resolution
from .base_faster_rcnn_small_256_plates import dataloader, lr_multiplier, model, optimizer, train

detector = model.detector
detector._target_ = SuperResolvedRCNN
detector.backbone.out_features = ["res2", "res3"]

heads = detector.roi_heads
heads._target_ = SuperResolvedRes5ROIHeads
# Of the sampled proposals, only small ones count in the first stage.
heads.batch_size_per_image = 64
heads.positive_fraction = 0.5

super_resolution.generator.base_channels = 64
super_resolution.generator.sub_channels = 48
super_resolution.generator.num_blocks = 4
super_resolution.generator.bottleneck_channels = 64
super_resolution.discriminator.hidden = 64
super_resolution.sub_pooler = deepcopy(heads.pooler)
super_resolution.sub_pooler.scales = [1 / 4]
super_resolution.max_area = 24 * 24
super_resolution.min_target_area = 16 * 16
super_resolution.max_pairs = 24
# The discriminator, small as it is, needs few iterations.
super_resolution.discriminator_period = 8
heads.super_resolution = super_resolution

loss_weights["detector/loss_generator"] = 0.1
model.loss_weights = loss_weights
optimizer.lr = 3e-3
train.init_checkpoint = "output/base_faster_rcnn_small_256_plates/model_final.pth"
train.stages = stages
train.stages[0].iterations = 1600 / 1750
# Both predictors are trained already.
train.stages[1].schedule = L(CosineParamScheduler)(start_value=0.1, end_value=0.002)
train.max_iter = 1750
train.eval_period = 0
