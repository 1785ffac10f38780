"""Table 3, DOTA-v2.0: FCOS, ResNet-18, real-valued."""

from .....configs.common.data.dota import dataloader
from ..aitod.full_fcos_r18_800_aitod import lr_multiplier, model, optimizer, train

model.detector.num_classes = 18
