"""Table 4: the generator learns from the small predictor's losses alone, TT100K at 1600 px."""

from .feature_sr_faster_rcnn_c4_r50_1600_tt100k import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.detector.roi_heads.super_resolution.supervision = "none"
model.detector.roi_heads.super_resolution.discriminator = None
# Every iteration trains the generator: as many as it gets beside a discriminator.
train.stages[0].iterations = 0.5  # of the run
train.max_iter = 12000
