"""Tables 6 to 8, TinyPerson: Faster R-CNN with FPN, ResNet-50."""

from .....configs.common.models.bottom_heavy import weights_r50
from .bh_faster_rcnn_r50_640_tinyperson import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    tiles,
    train,
)

model.detector.backbone.bottom_up = model.detector.backbone.bottom_up.backbone
train.init_checkpoint = weights_r50
