"""Tables 6 to 8, TinyPerson: Adap-FCOS, which is FCOS on P2 to P6, BH-ResNet50."""

from .....configs.common.models.fcos_bh_r50 import model as detector
from .bh_faster_rcnn_r50_640_tinyperson import dataloader, lr_multiplier, model, optimizer, train

detector.backbone.bottom_up = model.detector.backbone.bottom_up
model.detector = detector
