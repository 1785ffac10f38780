"""Table 4: targets are the backbone's own features, whose relative receptive field differs."""

from .feature_sr_faster_rcnn_small_256_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.detector.roi_heads.super_resolution.supervision = "naive"
