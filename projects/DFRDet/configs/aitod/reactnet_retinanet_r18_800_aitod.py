"""Table 2, AI-TOD: RetinaNet, ReActNet's layers."""

from .one_bit_retinanet_r18_800_aitod import dataloader, lr_multiplier, model, optimizer, train

model.detector.quantizer = "shifted_sign"
model.detector.activation = "shifted_prelu"
model.detector.scale = "mean"
# Which Eq. 3 is no part of.
model.objectives = []
model.loss_weights = {}
