"""Table 5, ImageNet32: ResNet-50."""

from .bh_resnet50_32_imagenet32 import dataloader, lr_multiplier, model, optimizer, train

model.detector.backbone = model.detector.backbone.backbone
