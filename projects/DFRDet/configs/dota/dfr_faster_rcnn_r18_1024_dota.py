"""Table 3, DOTA-v2.0: Faster R-CNN, ResNet-18, DFR-Det."""

from .....configs.common.data.dota import dataloader
from ..aitod.dfr_faster_rcnn_r18_800_aitod import lr_multiplier, model, optimizer, train

model.detector.detector.roi_heads.num_classes = 18
