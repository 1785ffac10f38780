"""The small FCOS with a bottom-heavy backbone of the same MACs, tiny plates."""

from .....configs.common.models.bottom_heavy import bh_small
from .standard_fcos_small_256_tiny import dataloader, lr_multiplier, model, optimizer, train

model.detector.backbone.bottom_up = bh_small
