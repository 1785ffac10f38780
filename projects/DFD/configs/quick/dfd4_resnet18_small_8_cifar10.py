"""DFD: a narrow ResNet-18 on CIFAR-10 of 8x8 pixels."""

from ..common.method import features, loss_weights, teacher
from .lowres4_resnet18_small_8_cifar10 import dataloader, lr_multiplier, model, optimizer, train

model.teacher = teacher
model.teacher.checkpoint = "output/full_resnet18_small_32_cifar10/model_final.pth"
model.objectives = [features]
model.loss_weights = loss_weights
