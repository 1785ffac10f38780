"""FeatureSR on Faster R-CNN C4, ResNet-50: proposals under 32 x 32 px, TT100K at 1600 px."""

from ..coco.feature_sr_faster_rcnn_c4_r50_800_coco_1x import lr_multiplier, model, optimizer
from ..common.adamw_1x import stages
from .base_faster_rcnn_c4_r50_1600_tt100k import dataloader, train
from .base_faster_rcnn_c4_r50_1600_tt100k import model as base

detector = model.detector
detector.proposal_generator = base.detector.proposal_generator
detector.roi_heads.num_classes = base.detector.roi_heads.num_classes
# In 200 of the test images, 57 % of the signs are smaller; 34 % are large enough to be targets, and
# at most twice as long as a small one.
detector.roi_heads.super_resolution.max_area = 32 * 32

train.init_checkpoint = "output/base_faster_rcnn_c4_r50_1600_tt100k/model_final.pth"
# 8 images per iteration: at least 15.7 epochs, then 7.9.
train.stages = stages
