"""A narrow ESPCN that makes 16x16 pixels of 8x8, trained on CIFAR-10."""

from lowres_d2.evaluation import SuperResolutionEvaluator

from .....configs.common.data.cifar10 import dataloader
from .super_resolution2_espcn_small_8_plates import lr_multiplier, model, optimizer, train

dataloader.evaluator._target_ = SuperResolutionEvaluator
