"""Table 5, ImageNet: BH-ResNet50."""

from .....configs.classification.full_shortcut_resnet18_224_imagenet import (
    data,
    dataloader,
    lr_multiplier,
    optimizer,
    train,
)
from .bh_resnet50_32_imagenet32 import model
