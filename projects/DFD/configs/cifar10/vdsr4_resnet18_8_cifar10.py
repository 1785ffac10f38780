"""Table 2: ResNet-18 trained and tested on what VDSR makes of 8x8 pixels."""

from .....configs.classification.full_resnet18_32_cifar10 import (
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)
from ..common.super_resolution import super_resolved
from .super_resolution2_vdsr_8_cifar10 import model as trained

model.resampler = super_resolved
model.resampler.network = trained.detector.network
model.resampler.checkpoint = "output/super_resolution2_vdsr_8_cifar10/model_final.pth"
