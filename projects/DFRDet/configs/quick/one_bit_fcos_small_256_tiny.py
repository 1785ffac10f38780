"""The small FCOS in 1 bit, without foreground refinement: the baseline."""

from ..common.method import loss_weights, weight_reconstruction
from .full_fcos_small_256_tiny import dataloader, lr_multiplier, model, optimizer, train

model.detector.quantizer = "sign"
model.objectives = [weight_reconstruction]
model.loss_weights = {"binary/*": loss_weights["binary/*"]}
train.init_checkpoint = "output/full_fcos_small_256_tiny/model_final.pth"
# Of the benchmark's 35 core-minutes the forms of the loss take most.
train.max_iter = 1000
