"""A narrow VDSR that makes 16x16 pixels of 8x8, trained on generated plates."""

from ..common.vdsr import lr_multiplier, model, optimizer, train
from .super_resolution2_espcn_small_8_plates import dataloader

model.detector.network.width = 24
model.detector.network.depth = 8

# 10,000 images, 128 per iteration: 20 epochs; three core-minutes.
train.max_iter = 1560
train.checkpointer.period = 250
train.channels_last = True
train.amp.enabled = True
