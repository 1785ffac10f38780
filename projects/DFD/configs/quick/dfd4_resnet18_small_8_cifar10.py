"""dfd4"""

from .full_resnet18_small_32_cifar10 import dataloader
from .dfd4_resnet18_small_8_plates import lr_multiplier, model, optimizer, train

model.detector.num_classes = 10
