"""RetinaNet on TinyPerson, BH-ResNet50; the paper has it with SSPNet only."""

from .....configs.common.models.retinanet_bh_r50 import model as detector
from .bh_faster_rcnn_r50_640_tinyperson import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    tiles,
    train,
)

detector.backbone.bottom_up = model.detector.backbone.bottom_up
model.detector = detector
