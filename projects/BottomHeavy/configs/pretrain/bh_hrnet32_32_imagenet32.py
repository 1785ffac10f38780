"""Table 5, ImageNet32: BH-HRNet32; with model.detector.backbone.width=18 BH-HRNet18."""

from .bh_hrnet32_32_cifar100 import model
from .bh_resnet50_32_imagenet32 import dataloader, lr_multiplier, optimizer, train

model.detector.num_classes = 1000
