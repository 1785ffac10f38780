"""Table 1, baseline: FCOS, ResNet-18, in 1 bit, without foreground refinement."""

from .....configs.common.models.one_bit import one_bit
from ..common.method import loss_weights, weight_reconstruction
from ..common.resnet18 import resnet18
from .full_fcos_r18_800_aitod import dataloader, lr_multiplier, model, optimizer, train

one_bit.detector = model.detector
one_bit.detector.backbone.bottom_up = resnet18
model.detector = one_bit
model.objectives = [weight_reconstruction]
model.loss_weights = {"binary/*": loss_weights["binary/*"]}
