"""Table 5, ImageNet: ResNet-50."""

from .bh_resnet50_224_imagenet import data, dataloader, lr_multiplier, model, optimizer, train

model.detector.backbone = model.detector.backbone.backbone
