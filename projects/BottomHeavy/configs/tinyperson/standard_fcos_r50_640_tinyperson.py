"""Tables 6 to 8, TinyPerson: Adap-FCOS, ResNet-50."""

from .....configs.common.models.bottom_heavy import weights_r50
from .bh_fcos_r50_640_tinyperson import dataloader, lr_multiplier, model, optimizer, tiles, train

model.detector.backbone.bottom_up = model.detector.backbone.bottom_up.backbone
train.init_checkpoint = weights_r50
