"""VGG-16 on SVHN at full resolution, 32x32: 100 epochs; the teacher."""

from .....configs.classification.full_vgg16_32_cifar10 import model
from .full_resnet18_32_svhn import dataloader, lr_multiplier, optimizer, train
