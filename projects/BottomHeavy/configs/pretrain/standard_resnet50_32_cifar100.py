"""Table 5, CIFAR-100: ResNet-50."""

from .bh_resnet50_32_cifar100 import dataloader, lr_multiplier, model, optimizer, train

model.detector.backbone = model.detector.backbone.backbone
