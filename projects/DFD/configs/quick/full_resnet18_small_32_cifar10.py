"""A narrow ResNet-18 on CIFAR-10 at full resolution, 32x32: the teacher."""

from .....configs.common.data.cifar10 import dataloader
from .full_resnet18_small_32_plates import lr_multiplier, model, optimizer, train

model.detector.num_classes = 10
