"""Table 3, DOTA-v2.0: Faster R-CNN, ResNet-18, real-valued."""

from .....configs.common.data.dota import dataloader
from ..aitod.full_faster_rcnn_r18_800_aitod import lr_multiplier, model, optimizer, train

model.detector.roi_heads.num_classes = 18
