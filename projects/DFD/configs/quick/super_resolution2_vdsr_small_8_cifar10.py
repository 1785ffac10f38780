"""A narrow VDSR that makes 16x16 pixels of 8x8, trained on CIFAR-10."""

from .super_resolution2_espcn_small_8_cifar10 import dataloader
from .super_resolution2_vdsr_small_8_plates import lr_multiplier, model, optimizer, train
