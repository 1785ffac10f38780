"""FeatureSR with narrow blocks in the generator: 1/62 of their MACs, COCO, 12 epochs."""

from .feature_sr_faster_rcnn_c4_r50_800_coco_1x import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

# 1280 * 128 + 9 * 128 * 128 + 128 * 1280 MACs per cell instead of 2 * 9 * 1280 * 1280.
model.detector.roi_heads.super_resolution.generator.bottleneck_channels = 128
