"""Table 2: ResNet-18 trained and tested on what VDSR makes of 8x8 pixels."""

from .espcn4_resnet18_8_cifar10 import dataloader, lr_multiplier, model, optimizer, train
from .super_resolution2_vdsr_8_cifar10 import model as trained

model.resampler.network = trained.detector.network
model.resampler.checkpoint = "output/super_resolution2_vdsr_8_cifar10/model_final.pth"
