"""DFD on ResNet-18, your images of 8x8 pixels, from a run of full_resnet18_32_own."""

from ...projects.DFD.configs.common.method import degraded, features, loss_weights, teacher
from .full_resnet18_32_own import data, dataloader, lr_multiplier, model, optimizer, train

model.resampler = degraded
model.teacher = teacher
# A run's folder stands for its best weights.
model.teacher.checkpoint = "output/full_resnet18_32_own"
model.objectives = [features]
model.loss_weights = loss_weights
