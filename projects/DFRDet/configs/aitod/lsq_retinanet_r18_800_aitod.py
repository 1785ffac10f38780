"""Table 2, AI-TOD: RetinaNet, ResNet-18, 4-bit weights and features with learned steps (LSQ)."""

from .....configs.common.models.one_bit import one_bit
from .full_retinanet_r18_800_aitod import dataloader, lr_multiplier, model, optimizer, train

one_bit.detector = model.detector
one_bit.quantizer = "learned_step"
model.detector = one_bit
