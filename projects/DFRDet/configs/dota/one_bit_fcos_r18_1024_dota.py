"""DOTA-v2.0: FCOS, ResNet-18, in 1 bit, without foreground refinement; not in the paper."""

from .....configs.common.data.dota import dataloader
from ..aitod.one_bit_fcos_r18_800_aitod import lr_multiplier, model, optimizer, train

model.detector.detector.num_classes = 18
