"""Table 1: DFD, ResNet-18, SVHN of 8x8 pixels."""

from ..common.method import features, loss_weights, teacher
from .lowres4_resnet18_8_svhn import dataloader, lr_multiplier, model, optimizer, train

model.teacher = teacher
model.teacher.checkpoint = "output/full_resnet18_32_svhn/model_final.pth"
model.objectives = [features]
model.loss_weights = loss_weights
