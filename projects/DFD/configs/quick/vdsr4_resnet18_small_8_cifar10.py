"""A narrow ResNet-18 trained and tested on what VDSR makes of 8x8 pixels of CIFAR-10."""

from ..common.super_resolution import super_resolved
from .full_resnet18_small_32_cifar10 import dataloader, lr_multiplier, model, optimizer, train
from .super_resolution2_vdsr_small_8_cifar10 import model as trained

model.resampler = super_resolved
model.resampler.network = trained.detector.network
model.resampler.checkpoint = "output/super_resolution2_vdsr_small_8_cifar10/model_final.pth"
