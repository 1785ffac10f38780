"""Table 2: VDSR that makes 16x16 pixels of 8x8, trained on CIFAR-10's training images."""

from ..common.vdsr import lr_multiplier, model, optimizer, train
from .super_resolution2_espcn_8_cifar10 import dataloader

dataloader.train.total_batch_size = 64
