"""Table 1: DFD, VGG-16, CIFAR-10 of 16x16 pixels."""

from ..common.method import features, loss_weights, pretrained_student, teacher
from .lowres2_vgg16_16_cifar10 import dataloader, lr_multiplier, model, optimizer, train

model.teacher = teacher
model.teacher.checkpoint = "output/full_vgg16_32_cifar10/model_final.pth"
model.objectives = [features]
model.loss_weights = loss_weights
train.stages = pretrained_student
