"""Table 4: targets are the backbone's own features of the full-size image, TT100K."""

from .feature_sr_faster_rcnn_c4_r50_1600_tt100k import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.detector.roi_heads.super_resolution.supervision = "naive"
