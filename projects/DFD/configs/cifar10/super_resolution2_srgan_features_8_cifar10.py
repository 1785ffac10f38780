"""SRGAN with a content loss on a trained ResNet-18's features, in place of the pixels'.

Both stages have it; Ledig et al. start the second stage from a network trained on pixels.
"""

from ..common.srgan import feature_content
from .super_resolution2_srgan_8_cifar10 import dataloader, lr_multiplier, model, optimizer, train

model.detector.content = feature_content
model.detector.content.checkpoint = "output/full_resnet18_32_cifar10/model_final.pth"
