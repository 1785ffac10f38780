"""ResNet-18 on CIFAR-100 at full resolution, 32x32: 100 epochs."""

from ..common.data.cifar100 import dataloader
from .full_resnet18_32_cifar10 import lr_multiplier, model, optimizer, train

model.detector.num_classes = 100
