"""A narrow ResNet-18 on CIFAR-10 at full resolution, 32x32: the teacher."""

from .....configs.common.data.cifar10 import dataloader
from .full_resnet18_small_32_plates import lr_multiplier, model, optimizer, train

model.detector.num_classes = 10
model.detector.backbone.width = 16
# 5,000 images, 128 per iteration: 25 epochs; 2.5 of the whole set's 50,000.
train.max_iter = 977
