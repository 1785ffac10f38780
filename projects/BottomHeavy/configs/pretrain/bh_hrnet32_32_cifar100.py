"""Table 5, CIFAR-100: BH-HRNet32; with model.detector.backbone.bottom_up.width=18 BH-HRNet18."""

from .....configs.common.models.bottom_heavy import hrfpn
from .bh_resnet50_32_cifar100 import dataloader, lr_multiplier, model, optimizer, train

# P2 joins all branches, so that all are trained.
hrfpn.num_levels = 1
model.detector.backbone = hrfpn
model.detector.feature = "p2"
