"""Table 4, "without supervision": no content loss, the rest is the same, TT100K at 1600 px."""

from .feature_sr_faster_rcnn_c4_r50_1600_tt100k import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.detector.roi_heads.super_resolution.content_loss = False
