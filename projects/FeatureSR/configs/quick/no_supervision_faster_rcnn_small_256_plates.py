"""Table 4, "without supervision": no content loss; discriminator and turns are the same."""

from .feature_sr_faster_rcnn_small_256_plates import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.detector.roi_heads.super_resolution.content_loss = False
