"""FeatureSR on Faster R-CNN C4, ResNet-101, TT100K at its own 2048 px (Table 2)."""

from .base_faster_rcnn_c4_r101_2048_tt100k import dataloader
from .feature_sr_faster_rcnn_c4_r101_1600_tt100k import lr_multiplier, model, optimizer, train

train.init_checkpoint = "output/base_faster_rcnn_c4_r101_2048_tt100k/model_final.pth"
