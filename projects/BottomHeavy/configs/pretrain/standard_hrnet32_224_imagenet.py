"""Table 5, ImageNet: HRNet32; with model.detector.backbone.width=18 HRNet18."""

from .....configs.common.models.bottom_heavy import hrnet32
from .bh_hrnet32_224_imagenet import data, dataloader, lr_multiplier, model, optimizer, train

model.detector.backbone = hrnet32
model.detector.backbone.out_features = ["final"]
