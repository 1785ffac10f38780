"""ThumbDet's method on Cascade R-CNN, ResNet-50, 2x, COCO, 12 epochs."""

from .thumbdet4_cascade_rcnn_r50_200_coco_1x import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.resampler.factor = 2
