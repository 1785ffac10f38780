"""ImageNet32: HRNet32, not in Table 5; model.detector.backbone.width=18: HRNet18."""

from .....configs.common.models.bottom_heavy import hrnet32
from .bh_hrnet32_32_imagenet32 import dataloader, lr_multiplier, model, optimizer, train

model.detector.backbone = hrnet32
model.detector.backbone.out_features = ["final"]
