"""FeatureSR on ThumbDet's thumbnails, 4x, Faster R-CNN C4, ResNet-50, COCO, 12 epochs.

Beyond both papers. The downsampler is that of the base detector, and frozen; super-resolution
learns from the thumbnail and the thumbnail at half its size.
"""

from ....ThumbDet.configs.common.method import downsampler
from .feature_sr_faster_rcnn_c4_r50_800_coco_1x import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.resampler = downsampler
# In pixels of the thumbnail: objects under 96 x 96 px of the image; a target has at least one cell
# of res4.
model.detector.roi_heads.super_resolution.max_area = 24 * 24
model.detector.roi_heads.super_resolution.min_target_area = 16 * 16
train.init_checkpoint = "output/thumbdet4_faster_rcnn_c4_r50_200_coco_1x/model_final.pth"
