"""RetinaNet in 1 bit on AI-TOD, without foreground refinement."""

from .full_retinanet_r18_800_aitod import model as real
from .one_bit_fcos_r18_800_aitod import dataloader, lr_multiplier, model, optimizer, train

real.detector.backbone.bottom_up = model.detector.detector.backbone.bottom_up
model.detector.detector = real.detector
