"""Table 4: the same generator, trained by the small predictor's losses alone."""

from .feature_sr_faster_rcnn_small_256_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.detector.roi_heads.super_resolution.supervision = "none"
model.detector.roi_heads.super_resolution.discriminator = None
