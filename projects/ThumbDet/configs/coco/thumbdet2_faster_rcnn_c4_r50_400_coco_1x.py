"""ThumbDet's method on Faster R-CNN C4, ResNet-50, 2x, COCO, 12 epochs."""

from .thumbdet4_faster_rcnn_c4_r50_200_coco_1x import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.resampler.factor = 2
