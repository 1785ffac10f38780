"""One FCOS, ResNet-50, for images at full size and downsampled 2x, 3x and 4x, COCO, 12 epochs."""

from lowres_d2.modeling.meta_arch import AnyFactorDetector

from ..common.any_factor import any_factor
from .thumbdet4_fcos_r50_200_coco_1x import dataloader, lr_multiplier, model, optimizer, train

model._target_ = AnyFactorDetector
model.resampler = any_factor
# A trainable norm, so that each factor has its own.
model.detector.backbone.bottom_up.stages.norm = "naiveSyncBN"
