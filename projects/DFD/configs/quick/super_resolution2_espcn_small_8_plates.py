"""A narrow ESPCN that makes 16x16 pixels of 8x8, trained on generated plates."""

from lowres_d2.evaluation import SuperResolutionEvaluator

from ..common.espcn import lr_multiplier, model, optimizer, train
from .full_resnet18_small_32_plates import dataloader

model.detector.network.width = 32

dataloader.evaluator._target_ = SuperResolutionEvaluator
# With 0.01 a run's loss jumped to ten times as much after ten epochs, and stayed there.
optimizer.lr = 0.003
# 10,000 images, 128 per iteration: 40 epochs; two core-minutes.
train.max_iter = 3125
train.checkpointer.period = 500
train.channels_last = True
train.amp.enabled = True
