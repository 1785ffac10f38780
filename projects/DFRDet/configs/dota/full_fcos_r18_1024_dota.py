"""Table 3, DOTA-v2.0: FCOS, ResNet-18, real-valued."""

from .....configs.common.data.dota import dataloader
from ..aitod.full_fcos_r18_800_aitod import lr_multiplier, model, optimizer, train

# 12 epochs are six iterations for each tile with objects, which `lowres-d2 prepare-dota` counts:
# give train.max_iter, and an eval_period of a twelfth of it.

model.detector.num_classes = 18
