"""Table 5, ImageNet: BH-HRNet32; with model.detector.backbone.width=18 BH-HRNet18."""

from .bh_hrnet32_32_imagenet32 import model
from .bh_resnet50_224_imagenet import data, dataloader, lr_multiplier, optimizer, train
