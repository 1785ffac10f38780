"""FeatureSR on Faster R-CNN C4, MobileNet: proposals under 32 x 32 px, TT100K at 1600 px."""

from ..coco.feature_sr_faster_rcnn_c4_mobilenetv1_800_coco_1x import model
from .base_faster_rcnn_c4_mobilenetv1_1600_tt100k import dataloader
from .base_faster_rcnn_c4_mobilenetv1_1600_tt100k import model as base
from .feature_sr_faster_rcnn_c4_r50_1600_tt100k import lr_multiplier, optimizer, train

detector = model.detector
detector.proposal_generator = base.detector.proposal_generator
detector.roi_heads.num_classes = base.detector.roi_heads.num_classes
# As with ResNet-50.
detector.roi_heads.super_resolution.max_area = 32 * 32

train.init_checkpoint = "output/base_faster_rcnn_c4_mobilenetv1_1600_tt100k/model_final.pth"
