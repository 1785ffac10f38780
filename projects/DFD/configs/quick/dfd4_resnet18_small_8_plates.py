"""DFD: a narrow ResNet-18 on images of 8x8 pixels."""

from ..common.method import features, loss_weights, teacher
from .lowres4_resnet18_small_8_plates import dataloader, lr_multiplier, model, optimizer, train

model.teacher = teacher
model.teacher.checkpoint = "output/full_resnet18_small_32_plates/model_final.pth"
model.objectives = [features]
model.loss_weights = loss_weights
