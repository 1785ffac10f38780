"""FeatureSR with two ratios: 2 from 48 x 48 px on, 4 below, narrow blocks, COCO, 12 epochs.

Beyond the paper, which leaves a ratio per proposal to future work. Each ratio is supervised in half
of the iterations.
"""

from .feature_sr_narrow_faster_rcnn_c4_r50_800_coco_1x import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.detector.roi_heads.super_resolution.ratios = [2, 4]
