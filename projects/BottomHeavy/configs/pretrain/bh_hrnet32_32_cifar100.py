"""Table 5, CIFAR-100: BH-HRNet32; with model.detector.backbone.width=18 BH-HRNet18."""

from .....configs.common.models.bottom_heavy import bh_hrnet32
from .bh_resnet50_32_cifar100 import dataloader, lr_multiplier, model, optimizer, train

# With the head of HRNet's classifiers, which detectors leave out.
model.detector.backbone = bh_hrnet32
model.detector.backbone.out_features = ["final"]
model.detector.feature = "final"
