"""The bottom-heavy backbone as a classifier of tiny plates."""

from .....configs.common.models.bottom_heavy import bh_small
from .standard_resnet_small_32_plates import dataloader, lr_multiplier, model, optimizer, train

model.detector.backbone = bh_small
