"""Table 2: ESPCN that makes 16x16 pixels of 8x8, trained on CIFAR-10's training images."""

from lowres_d2.evaluation import SuperResolutionEvaluator

from .....configs.common.data.cifar10 import dataloader
from ..common.espcn import lr_multiplier, model, optimizer, train

dataloader.evaluator._target_ = SuperResolutionEvaluator
